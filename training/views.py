"""The pages: each is a snapshot of the rows with its seq; the socket tells the rest."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_safe

from training import datasets as stored
from training import lifecycle
from training.access import visible
from training.configs import BadConfig
from training.engine.config import GenerateConfig, TrainConfig
from training.engine.importer import ImportProblem
from training.forms import GenerateForm, ImportForm, JobForm
from training.models import Dataset, Job, TrainedModel
from training.serializers import EpochSerializer, JobSerializer
from training.states import Status

JOBS_PAGE = 30
# A chart has about as many pixels across; the table below it shows the newest.
CHART_POINTS = 1000


def _user(request: HttpRequest) -> User:
    return cast(User, request.user)


@require_safe
@login_required
def jobs(request: HttpRequest) -> HttpResponse:
    """All jobs, the newest first, each moving as it trains."""
    found = visible(Job.objects.select_related("dataset", "owner"), _user(request))
    status, search = request.GET.get("status", ""), request.GET.get("search", "").strip()
    if status in Status.values:
        found = found.filter(status=status)
    if search:
        found = found.filter(name__icontains=search)
    page = Paginator(found, JOBS_PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "status": status, "search": search, "statuses": Status}
    return render(request, "training/jobs.html", context)


@require_safe
@login_required
def job(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One job, live."""
    rows = visible(Job.objects.select_related("dataset", "owner"), _user(request))
    # The job first, then its epochs: what is newer than its seq comes over the socket again, and
    # the page drops an epoch that it has.
    found = get_object_or_404(rows, pk=pk)
    model = TrainedModel.objects.filter(job=found).first()
    snapshot = {
        "job": JobSerializer(found).data,
        "epochs": _thinned(list(EpochSerializer(found.epochs.all(), many=True).data)),
        "evaluation": model.evaluation if model else None,
        "events": [
            {"seq": event.seq, "event": event.event, "data": event.data, "timestamp": event.at}
            for event in found.events.exclude(event="training:progress").order_by("-seq")[:30]
        ],
    }
    return render(request, "training/job.html", {"job": found, "snapshot": snapshot})


def _thinned(epochs: Sequence[Any]) -> Sequence[Any]:
    """At most CHART_POINTS of them, the newest among them."""
    step = -(-len(epochs) // CHART_POINTS) or 1
    return epochs[::-1][::step][::-1]


@login_required
def start(request: HttpRequest) -> HttpResponse:
    """Start a training."""
    form = JobForm(_user(request), request.POST or None, initial=_chosen(request))
    if request.method == "POST" and form.is_valid():
        config = cast(TrainConfig, form.config)
        name = form.cleaned_data["name"]
        made = lifecycle.submit(_user(request), form.cleaned_data["dataset"], config, name)
        return redirect("job", made.pk)
    status = 400 if form.is_bound else 200
    return render(request, "training/start.html", {"form": form}, status=status)


def _chosen(request: HttpRequest) -> dict[str, Any]:
    """The form as another job, or another page, suggests it."""
    like = request.GET.get("like", "")
    try:
        source = visible(Job.objects.all(), _user(request)).filter(pk=uuid.UUID(like)).first()
    except ValueError:
        source = None
    if source is not None:
        return {**source.config, "dataset": source.dataset_id, "name": source.name}
    return {"dataset": request.GET["dataset"]} if "dataset" in request.GET else {}


@login_required
def datasets(request: HttpRequest) -> HttpResponse:
    """All datasets, and the two ways to a new one."""
    forms = {"generate_form": GenerateForm(), "import_form": ImportForm()}
    if request.method == "POST":
        name, response = _new_dataset(request)
        if isinstance(response, HttpResponse):
            return response
        forms[name] = response
    found = visible(Dataset.objects.select_related("owner"), _user(request))
    page = Paginator(found, JOBS_PAGE).get_page(request.GET.get("page"))
    bound = any(form.is_bound for form in forms.values())
    context = {"page": page, **forms}
    return render(request, "training/datasets.html", context, status=400 if bound else 200)


def _new_dataset(
    request: HttpRequest,
) -> tuple[str, HttpResponse | GenerateForm | ImportForm]:
    """Where to go next; or the form again, with what is wrong."""
    if "import" in request.POST:
        upload = ImportForm(request.POST, request.FILES)
        if upload.is_valid():
            try:
                made = stored.import_upload(_user(request), **upload.cleaned_data)
            except (ImportProblem, BadConfig) as error:
                upload.add_error("file", f"{error}.")
            else:
                messages.success(request, f"Imported {made.samples:,} samples.")
                return "import_form", redirect("datasets")
        return "import_form", upload
    wanted = GenerateForm(request.POST)
    if wanted.is_valid():
        config = cast(GenerateConfig, wanted.config)
        name = wanted.cleaned_data["name"]
        return "generate_form", redirect(
            "job", lifecycle.submit_generation(_user(request), name, config).pk
        )
    return "generate_form", wanted
