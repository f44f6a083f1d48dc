"""The list of trained models, and the page of one."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe
from rest_framework.exceptions import APIException

from training.accounts.limits import LimitReachedError
from training.accounts.permissions import signed_in_user, visible_to
from training.api.predictions import known_signals, predict
from training.jobs.reference_errors import best_baseline
from training.models import Job, TrainedModel
from training.programs.measurements import ExactFloat
from training.typed_numbers import NumberFormatError, normalize_number
from training.validation import InvalidInputError
from training.web import drafts, formatting
from training.web.sign_in import sign_in_required
from training.web.views.job_page import chart_drawings
from training.web.views.responses import safe_next_url

MAX_MODELS = 100
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
READINGS = {
    "rssi_dbm": ("RSSI", "dBm"),
    "snr_db": ("SNR", "dB"),
    "toa_ns": ("Arrival time", "ns"),
}


@dataclass(frozen=True, slots=True)
class ReadingInput:
    """An input of the form: a signal at a receiver."""

    name: str
    field: str
    label: str
    value: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A predicted position as it is printed; predict.js prints the same."""

    position: str
    ellipse_68: str
    ellipse_95: str

    @classmethod
    def of(cls, prediction: Mapping[str, Any]) -> Estimate:
        return cls(
            ", ".join(formatting.format_fixed(prediction[name], 5) for name in ("lat", "lon")),
            _axes(prediction["ellipse_68"]),
            _axes(prediction["ellipse_95"]),
        )


def _axes(ellipse: Mapping[str, float]) -> str:
    """Both full axes."""
    major, minor = 2 * ellipse["semi_major_m"], 2 * ellipse["semi_minor_m"]
    return f"{formatting.format_distance(major)} × {formatting.format_distance(minor)}"


@require_safe
@sign_in_required
def model_list(request: HttpRequest) -> HttpResponse:
    rows = _models(request).select_related("job__owner")[:MAX_MODELS]
    context = {"rows": [(row, best_baseline(row.evaluation)) for row in rows]}
    return render(request, "training/models.html", context)


@drafts.keeps_draft
@require_http_methods(["GET", "HEAD", "POST"])
@sign_in_required
def model_detail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """POST answers the readings of the form, for browsers without JavaScript."""
    found = get_object_or_404(_models(request), pk=pk)
    typed = request.POST if request.method == "POST" else drafts.take(request) or QueryDict()
    receivers = found.job.dataset.facts.get("receivers", []) if found.job.dataset else []
    signals = {name: READINGS[name] for name in known_signals(found)}
    ids = [str(receiver["id"]) for receiver in receivers]
    readings, errors = read_form(typed, ids, list(signals))
    estimate = None
    if request.method == "POST" and not errors:
        estimate, errors = _estimate(request, found, readings, ids)
    rows = [
        (
            receiver,
            [
                ReadingInput(
                    name := f"{field}-{index}",
                    field,
                    f"{label} at {receiver['id']}",
                    typed.get(name, ""),
                    errors.get(name, ""),
                )
                for field, (label, _) in signals.items()
            ],
        )
        for index, receiver in enumerate(receivers)
    ]
    context = {
        "model": found,
        "job": found.job,
        "evaluation": found.evaluation,
        "rows": rows,
        "signals": signals.values(),
        "estimate": estimate,
        "predict": safe_next_url(reverse("model-predict", args=[found.pk])),
        **chart_drawings(found.evaluation),
    }
    failed = request.method == "POST" and estimate is None
    return render(request, "training/model.html", context, status=400 if failed else 200)


def _models(request: HttpRequest) -> QuerySet[TrainedModel]:
    jobs = visible_to(Job.objects.all(), signed_in_user(request))
    return TrainedModel.objects.filter(job__in=jobs).select_related("job", "job__dataset")


def read_form(
    typed: QueryDict, receivers: list[str], fields: list[str]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The measurements that were typed, and a sentence for each input that is no number."""
    rows: list[dict[str, Any]] = []
    errors: dict[str, str] = {}
    for index, receiver in enumerate(receivers):
        row: dict[str, Any] = {"receiver_id": receiver}
        for field in fields:
            name = f"{field}-{index}"
            text = typed.get(name, "").strip()
            if not text:
                continue
            try:
                number = normalize_number(text)
            except NumberFormatError as error:
                errors[name] = str(error)
                continue
            if _NUMBER.fullmatch(number):
                row[field] = ExactFloat(number)
            else:
                errors[name] = f"{text!r} is not a number."
        if len(row) > 1:
            rows.append(row)
    return rows, errors


def _estimate(
    request: HttpRequest, model: TrainedModel, readings: list[dict[str, Any]], receivers: list[str]
) -> tuple[Estimate | None, dict[str, str]]:
    """The answer, or None with a sentence for each input at fault, or else a message."""
    if not readings:
        messages.warning(request, "Enter at least one reading.")
        return None, {}
    errors: dict[str, str] = {}
    user = signed_in_user(request)
    try:
        return Estimate.of(predict(user, model, {"measurements": readings})[0]), errors
    except InvalidInputError as error:
        for name, sentences in error.errors.items():
            match name.split("."):
                case ["measurements", row, str(field)] if field in READINGS:
                    index = receivers.index(readings[int(row)]["receiver_id"])
                    errors[f"{field}-{index}"] = " ".join(sentences)
                case _:
                    messages.warning(request, " ".join(sentences))
    except (APIException, LimitReachedError) as error:
        messages.warning(request, str(error))
    return None, errors
