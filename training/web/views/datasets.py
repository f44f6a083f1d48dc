"""The list of datasets with the forms that create one, and the page of one."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from training.accounts.permissions import require_owner, signed_in_user, visible_to
from training.datasets import service as dataset_service
from training.models import Dataset, Job
from training.programs.datasets import DatasetImportError
from training.programs.registry import get_program
from training.validation import InvalidInputError
from training.web.charts.maps import dataset_map
from training.web.forms import GenerateForm, ImportForm
from training.web.views.responses import HttpResponseSeeOther, redirect_see_other
from training.web.views.sharing import sharing

PAGE = 30
NEWEST_JOBS = 20


@login_required
def dataset_list(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    forms = {"generate_form": GenerateForm(user), "import_form": ImportForm(user)}
    if request.method == "POST":
        name, response = _new_dataset(request)
        if isinstance(response, HttpResponse):
            return response
        forms[name] = response
    found = visible_to(Dataset.objects.select_related("owner", "team"), user)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    bound = any(form.is_bound for form in forms.values())
    generation_jobs = {
        job.dataset_id: job
        for job in Job.objects.filter(
            kind=Job.Kind.GENERATION, dataset__in=page.object_list
        ).order_by("created_at")
    }
    rows = [(dataset, generation_jobs.get(dataset.pk)) for dataset in page.object_list]
    context = {"page": page, "rows": rows, **forms}
    return render(request, "training/datasets.html", context, status=400 if bound else 200)


def _new_dataset(
    request: HttpRequest,
) -> tuple[str, HttpResponse | GenerateForm | ImportForm]:
    """Name of the submitted form, and the redirect on success or the form with its errors."""
    user = signed_in_user(request)
    if "import" in request.POST:
        upload = ImportForm(user, request.POST, request.FILES)
        if upload.is_valid():
            try:
                made = upload.store()
            except (DatasetImportError, InvalidInputError) as error:
                upload.add_error("file", f"{error}.")
            else:
                messages.success(request, f"Imported {made.samples:,} samples.")
                return "import_form", _after_upload(request, reverse("dataset", args=[made.pk]))
        return "import_form", upload
    generate = GenerateForm(user, request.POST)
    if generate.is_valid():
        return "generate_form", redirect_see_other("job", generate.submit().pk)
    return "generate_form", generate


def _after_upload(request: HttpRequest, page: str) -> HttpResponse:
    """JSON for a script, which would lose the flash message if it followed a redirect."""
    if request.headers.get("X-Requested-With") == "XMLHttpRequest":
        return JsonResponse({"page": page})
    return HttpResponseSeeOther(page)


def _dataset(request: HttpRequest, pk: uuid.UUID) -> Dataset:
    rows = visible_to(Dataset.objects.select_related("owner", "team"), signed_in_user(request))
    return get_object_or_404(rows, pk=pk)


@require_safe
@login_required
def dataset_detail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = _dataset(request, pk)
    jobs = visible_to(Job.objects.select_related("owner", "dataset"), signed_in_user(request))
    context = {
        "dataset": found,
        **sharing(found, signed_in_user(request)),
        "map": _map(found),
        "maker": jobs.filter(dataset=found, kind=Job.Kind.GENERATION).first(),
        "jobs": jobs.filter(dataset=found, kind=Job.Kind.TRAINING)[:NEWEST_JOBS],
    }
    return render(request, "training/dataset.html", context)


@require_POST
@login_required
def delete_dataset(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = _dataset(request, pk)
    require_owner(found, signed_in_user(request))
    try:
        dataset_service.delete_dataset(found)
    except dataset_service.DatasetInUseError as error:
        messages.warning(request, str(error))
        return redirect_see_other("dataset", pk)
    messages.success(request, f"Deleted {found.name}.")
    return redirect_see_other("datasets")


def _map(found: Dataset) -> SafeString | None:
    """A map of the fixed receivers and some samples; None without fixed receivers."""
    fixed: list[dict[str, Any]] = [
        one for one in found.facts.get("receivers", []) if one.get("lat") is not None
    ]
    if not fixed:
        return None
    samples: list[dict[str, Any]] = found.facts.get("map", [])
    lat0, lon0 = (sum(one[side] for one in fixed) / len(fixed) for side in ("lat", "lon"))
    origin = (lat0, lon0)
    return dataset_map(
        _local_positions(origin, fixed, "id"), _local_positions(origin, samples, "split")
    )


def _local_positions(
    origin: tuple[float, float], rows: list[dict[str, Any]], name: str
) -> list[tuple[float, float, str]]:
    """Each row's east and north in metres, and its `name`."""
    if not rows:
        return []
    project = get_program().dataset_format.project
    places = project(origin, [one["lat"] for one in rows], [one["lon"] for one in rows])
    return [
        (east, north, str(one.get(name, "")))
        for (east, north), one in zip(places, rows, strict=True)
    ]
