"""The list of datasets with the forms that create one, and the page of one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import NamedTuple

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from training.accounts.limits import LimitReachedError
from training.accounts.permissions import require_owner, signed_in_user, visible_to
from training.datasets import service as dataset_service
from training.models import Dataset, Job
from training.programs.datasets import DatasetImportError, ImportPreview, MappingRequiredError
from training.programs.registry import get_program
from training.storage import disk_usage
from training.validation import InvalidInputError
from training.web import drafts
from training.web.base_map.drawing import Ground
from training.web.charts.maps import dataset_map
from training.web.create_once import create_once
from training.web.forms import CHECK, GenerateForm, ImportForm
from training.web.sign_in import post_only, sign_in_required
from training.web.views.responses import HttpResponseSeeOther, redirect_see_other
from training.web.views.sharing import sharing

PAGE = 30
NEWEST_JOBS = 20


class Place(NamedTuple):
    """A point on the map, in degrees; `label` is a receiver's name or a sample's split."""

    lat: float
    lon: float
    label: str


@drafts.keeps_draft
@sign_in_required
def dataset_list(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    forms = {"generate_form": GenerateForm(user), "import_form": ImportForm(user)}
    if draft := drafts.take(request):
        drafts.fill(forms["import_form" if "import" in draft else "generate_form"], draft)
    preview = None
    if request.method == "POST":
        name, response = _new_dataset(request)
        if isinstance(response, HttpResponse):
            return response
        if isinstance(response, Preview):
            response, preview = response.form, response.preview
        forms[name] = response
    found = visible_to(Dataset.objects.select_related("owner", "team"), user)
    search = request.GET.get("search", "").strip()
    if search:
        found = found.filter(name__icontains=search)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    refused = any(form.errors for form in forms.values())
    generation_jobs = {
        job.dataset_id: job
        for job in Job.objects.filter(
            kind=Job.Kind.GENERATION, dataset__in=page.object_list
        ).order_by("created_at")
    }
    rows = [(dataset, generation_jobs.get(dataset.pk)) for dataset in page.object_list]
    context = {"page": page, "rows": rows, "search": search, "preview": preview, **forms}
    return render(request, "training/datasets.html", context, status=400 if refused else 200)


class Preview(NamedTuple):
    """A checked import, and the form to send it with."""

    form: ImportForm
    preview: ImportPreview


def _new_dataset(
    request: HttpRequest,
) -> tuple[str, HttpResponse | GenerateForm | ImportForm | Preview]:
    """Name of the submitted form, and the redirect on success or the form with its errors."""
    user = signed_in_user(request)
    if CHECK in request.POST or "import" in request.POST:
        return "import_form", _import(request, ImportForm(user, request.POST, request.FILES))
    generate = GenerateForm(user, request.POST)
    if generate.is_valid():
        try:
            creation = create_once(request, "job", generate.submit)
        except LimitReachedError as error:
            generate.add_error(None, str(error))
        else:
            return "generate_form", HttpResponseSeeOther(creation.url)
    return "generate_form", generate


def _import(request: HttpRequest, form: ImportForm) -> HttpResponse | ImportForm | Preview:
    if not form.is_valid():
        return form
    try:
        if CHECK in request.POST:
            return Preview(form, form.preview())
        try:
            imported = create_once(request, "dataset", form.store, atomic=False)
        except MappingRequiredError:
            return Preview(form, form.preview())
    except LimitReachedError as error:
        form.add_error(None, str(error))
    except (DatasetImportError, InvalidInputError) as error:
        form.add_error("file", f"{error}.")
    else:
        if imported.row:
            messages.success(request, f"Imported {imported.row.samples:,} samples.")
        return _after_upload(request, imported.url)
    return form


def _after_upload(request: HttpRequest, page: str) -> HttpResponse:
    """JSON for a script, which would lose the flash message if it followed a redirect."""
    if request.headers.get("X-Requested-With") == "XMLHttpRequest":
        return JsonResponse({"page": page})
    return HttpResponseSeeOther(page)


def _dataset(request: HttpRequest, pk: uuid.UUID) -> Dataset:
    rows = visible_to(Dataset.objects.select_related("owner", "team"), signed_in_user(request))
    return get_object_or_404(rows, pk=pk)


@require_safe
@sign_in_required
def dataset_detail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = _dataset(request, pk)
    jobs = visible_to(Job.objects.select_related("owner", "dataset"), signed_in_user(request))
    context = {
        "dataset": found,
        "disk_bytes": disk_usage.dataset_bytes(found.pk),
        **sharing(found, signed_in_user(request)),
        "map": _map(found),
        "maker": jobs.filter(dataset=found, kind=Job.Kind.GENERATION).first(),
        "jobs": jobs.filter(dataset=found, kind=Job.Kind.TRAINING)[:NEWEST_JOBS],
    }
    return render(request, "training/dataset.html", context)


@post_only
@sign_in_required
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
    receivers = [
        Place(receiver["lat"], receiver["lon"], str(receiver.get("id", "")))
        for receiver in found.facts.get("receivers", [])
        if receiver.get("lat") is not None
    ]
    if not receivers:
        return None
    samples = [
        Place(sample["lat"], sample["lon"], str(sample.get("split", "")))
        for sample in found.facts.get("map", [])
    ]
    origin = (fmean(place.lat for place in receivers), fmean(place.lon for place in receivers))
    ground = Ground(origin, partial(get_program().dataset_format.project, origin))
    return dataset_map(
        _local_positions(ground, receivers), _local_positions(ground, samples), ground
    )


def _local_positions(ground: Ground, places: Sequence[Place]) -> list[tuple[float, float, str]]:
    """East and north in meters, and the label."""
    if not places:
        return []
    projected = ground.project([place.lat for place in places], [place.lon for place in places])
    return [
        (east, north, place.label) for (east, north), place in zip(projected, places, strict=True)
    ]
