"""The page that locates transmitters: readings in, positions on a map out."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import fmean
from typing import Any

from django.core.files.base import ContentFile, File
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_safe
from rest_framework.exceptions import APIException

from training.accounts.limits import LimitReachedError
from training.accounts.permissions import signed_in_user, visible_to
from training.api.exports.positions import FORMATS, positions_response
from training.api.held_places import count_download
from training.api.predictions import known_signals, model_file, predict
from training.datasets import service as datasets
from training.models import Job, TrainedModel
from training.programs.datasets import DatasetImportError
from training.programs.measurements import ExactFloat
from training.programs.positions import Ellipse, Position
from training.programs.readings import ReadingOptions, ReadingTable
from training.programs.registry import get_program
from training.typed_numbers import NumberFormatError, normalize_number
from training.validation import InvalidInputError
from training.web import drafts, formatting
from training.web.charts.answer_map import MappedAnswer, answer_map
from training.web.sign_in import sign_in_required

MAX_SHOWN = 200  # positions on the page; downloads have all
MAX_CHOICES = 100  # models in the chooser
PASTED = "The pasted table"
_NEWEST = 20  # models whose file is looked for
_NAMED = 8  # receivers named in a row
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
class AnswerRow:
    """A position as it is printed; `heard` are the numbers of receivers on the map."""

    number: int
    sample: str
    lat: str
    lon: str
    locator: str
    ellipse_68: str
    ellipse_95: str
    receivers: str
    heard: str


@dataclass(slots=True)
class Outcome:
    """What a submitted form gave: positions, or why there are none."""

    source: str
    positions: list[Position] = field(default_factory=list)
    table: ReadingTable | None = None
    input_errors: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def is_refused(self) -> bool:
        return not self.positions


class _Receivers:
    """The receivers of a model, from the facts of its dataset."""

    def __init__(self, model: TrainedModel) -> None:
        facts = model.job.dataset.facts if model.job.dataset else {}
        self.all: list[Mapping[str, Any]] = facts.get("receivers", [])
        self.ids = [str(receiver["id"]) for receiver in self.all]
        self.numbers = {name: number for number, name in enumerate(self.ids)}

    @property
    def mobile(self) -> list[str]:
        return [name for name, one in zip(self.ids, self.all, strict=True) if one["lat"] is None]


@require_safe
@sign_in_required
def locate_newest(request: HttpRequest) -> HttpResponse:
    """Lead to the chosen model, or the newest one that can be used."""
    models = _models(request)
    chosen = request.GET.get("model", "")
    if re.fullmatch("[0-9a-f-]{36}", chosen):
        found = get_object_or_404(models, pk=chosen)
        return redirect("locate", found.pk)
    usable = (model for model in models[:_NEWEST] if model_file(model).exists())
    if newest := next(usable, None):
        return redirect("locate", newest.pk)
    return render(request, "training/locate_empty.html")


@drafts.keeps_draft
@require_http_methods(["GET", "HEAD", "POST"])
@sign_in_required
def locate(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    """POST answers with the page, or with a file if `download` names its source and format."""
    model = get_object_or_404(_models(request), pk=pk)
    receivers = _Receivers(model)
    typed = request.POST if request.method == "POST" else drafts.take(request) or QueryDict()
    outcome = None
    if request.method == "POST":
        source, _, name = typed.get("download", "").partition("-")
        outcome = _answer(request, model, receivers, source or typed.get("source", ""))
        if name in FORMATS and not outcome.is_refused:
            try:
                response = positions_response(request, name, outcome.positions)
                return count_download(signed_in_user(request), response)
            except LimitReachedError as error:
                outcome.problems.append(str(error))
    context = {
        "model": model,
        "job": model.job,
        "choices": _choices(request, model),
        "receivers": receivers.all,
        "out_of_service": typed.getlist("out_of_service"),
        "outcome": outcome,
        "text": _shown_text(typed, outcome),
        "formats": [(name, one.title) for name, one in FORMATS.items()],
        **_reading_inputs(model, receivers, typed, outcome),
        **_results(receivers, outcome),
    }
    status = 400 if outcome and outcome.is_refused else 200
    return render(request, "training/locate.html", context, status=status)


def _models(request: HttpRequest) -> QuerySet[TrainedModel]:
    jobs = visible_to(Job.objects.all(), signed_in_user(request))
    return TrainedModel.objects.filter(job__in=jobs).select_related("job", "job__dataset")


def _choices(request: HttpRequest, model: TrainedModel) -> list[TrainedModel]:
    """The newest models and this one; empty if there is no other."""
    newest = list(_models(request)[:MAX_CHOICES])
    if model not in newest:
        newest.append(model)
    return newest if len(newest) > 1 else []


def _shown_text(typed: QueryDict, outcome: Outcome | None) -> str:
    """What was pasted; a small file comes back as text, since no browser keeps a chosen file."""
    pasted = typed.get("table", "")
    if pasted.strip() or outcome is None or outcome.table is None:
        return pasted
    return outcome.table.text


def _reading_inputs(
    model: TrainedModel, receivers: _Receivers, typed: QueryDict, outcome: Outcome | None
) -> dict[str, object]:
    signals = {name: READINGS[name] for name in known_signals(model)}
    errors = outcome.input_errors if outcome else {}
    rows = [
        (
            name,
            [
                ReadingInput(
                    key := f"{signal}-{index}",
                    signal,
                    f"{label} at {name}",
                    typed.get(key, ""),
                    errors.get(key, ""),
                )
                for signal, (label, _) in signals.items()
            ],
        )
        for index, name in enumerate(receivers.ids)
    ]
    return {"rows": rows, "signals": signals.values()}


def _answer(
    request: HttpRequest, model: TrainedModel, receivers: _Receivers, source: str
) -> Outcome:
    """From the part of the form whose button was pressed."""
    file, text = request.FILES.get("file"), request.POST.get("table", "")
    if source != "table":
        return _answer_inputs(request, model, receivers)
    outcome = Outcome("table")
    if file is None and not text.strip():
        outcome.problems.append("Paste a table or choose a file.")
        return outcome
    sent: File[Any] = file or ContentFile(text.encode(), name=PASTED)
    options = ReadingOptions(
        receivers=receivers.ids, mobile=receivers.mobile, signals=known_signals(model)
    )
    try:
        outcome.table = table = datasets.read_readings(signed_in_user(request), sent, options)
    except (DatasetImportError, LimitReachedError) as error:
        outcome.problems.append(f"{str(error).rstrip('.')}.")
        return outcome
    if table.errors:
        outcome.problems += map(str, table.errors)
        if not table.all_errors:
            outcome.problems.append("There are more errors.")
        return outcome
    _predict(request, model, list(table.measurements()), outcome)
    return outcome


def _answer_inputs(request: HttpRequest, model: TrainedModel, receivers: _Receivers) -> Outcome:
    outcome = Outcome("readings")
    rows, outcome.input_errors = read_form(request.POST, receivers.ids, known_signals(model))
    if outcome.input_errors:
        return outcome
    if not rows:
        outcome.problems.append("Enter at least one reading.")
        return outcome
    for name, sentences in _predict(request, model, rows, outcome).items():
        match name.split("."):
            case ["measurements", row, str(signal)] if signal in READINGS:
                index = receivers.numbers[rows[int(row)]["receiver_id"]]
                outcome.input_errors[f"{signal}-{index}"] = " ".join(sentences)
            case _:
                outcome.problems.append(" ".join(sentences))
    return outcome


def _predict(
    request: HttpRequest, model: TrainedModel, rows: list[dict[str, Any]], outcome: Outcome
) -> Mapping[str, list[str]]:
    """Fill in the positions, or why there are none; return the errors of fields of `rows`."""
    sent = {"measurements": rows, "out_of_service": request.POST.getlist("out_of_service")}
    try:
        outcome.positions = predict(signed_in_user(request), model, sent)
    except InvalidInputError as error:
        if outcome.table is None:
            return error.errors
        for name, sentences in error.errors.items():
            match name.split("."):
                case ["measurements", row, *_] if row.isdigit():
                    where = f"Row {outcome.table.lines[int(row)]}: "
                case _:
                    where = ""
            outcome.problems.append(where + " ".join(sentences))
    except (APIException, LimitReachedError) as error:
        outcome.problems.append(str(error))
    return {}


def read_form(
    typed: QueryDict, receivers: Sequence[str], fields: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The measurements that were typed, and a sentence for each input that is no number."""
    rows: list[dict[str, Any]] = []
    errors: dict[str, str] = {}
    for index, receiver in enumerate(receivers):
        row: dict[str, Any] = {"receiver_id": receiver}
        for signal in fields:
            name = f"{signal}-{index}"
            text = typed.get(name, "").strip()
            if not text:
                continue
            try:
                number = normalize_number(text)
            except NumberFormatError as error:
                errors[name] = str(error)
                continue
            if _NUMBER.fullmatch(number):
                row[signal] = ExactFloat(number)
            else:
                errors[name] = f"{text!r} is not a number."
        if len(row) > 1:
            rows.append(row)
    return rows, errors


def _results(receivers: _Receivers, outcome: Outcome | None) -> dict[str, object]:
    positions = outcome.positions if outcome else []
    shown = [
        (number, position)
        for number, position in enumerate(islice(positions, MAX_SHOWN))
        if position["lat"] is not None
    ]
    return {
        "answers": [_answer_row(number, position, receivers) for number, position in shown],
        "count": len(positions),
        "map": _map(receivers, shown),
    }


def _answer_row(number: int, position: Position, receivers: _Receivers) -> AnswerRow:
    heard = position["receivers"]
    more = len(heard) - _NAMED
    return AnswerRow(
        number=number,
        sample=position["sample_id"],
        lat=formatting.format_fixed(position["lat"], 5),
        lon=formatting.format_fixed(position["lon"], 5),
        locator=position["locator"],
        ellipse_68=_axes(position["ellipse_68"]),
        ellipse_95=_axes(position["ellipse_95"]),
        receivers=", ".join(heard[:_NAMED]) + (f" and {more} more" if more > 0 else ""),
        heard=" ".join(str(receivers.numbers[name]) for name in heard if name in receivers.numbers),
    )


def _axes(ellipse: Ellipse) -> str:
    """Both full axes."""
    major, minor = 2 * ellipse["semi_major_m"], 2 * ellipse["semi_minor_m"]
    return f"{formatting.format_distance(major)} × {formatting.format_distance(minor)}"


def _map(receivers: _Receivers, shown: Sequence[tuple[int, Position]]) -> SafeString | None:
    """None without any place to draw."""
    fixed = [
        (float(one["lat"]), float(one["lon"]), name, number)
        for number, (name, one) in enumerate(zip(receivers.ids, receivers.all, strict=True))
        if one["lat"] is not None
    ]
    places = [
        *((lat, lon) for lat, lon, *_ in fixed),
        *((position["lat"], position["lon"]) for _, position in shown),
    ]
    if not places:
        return None
    projected = _project(places)
    markers = [
        (east, north, name, number)
        for (east, north), (_, _, name, number) in zip(projected, fixed, strict=False)
    ]
    answers = [
        MappedAnswer(
            number=number,
            title=_tooltip(position),
            place=place,
            ellipse_68=position["ellipse_68"],
            ellipse_95=position["ellipse_95"],
        )
        for place, (number, position) in zip(projected[len(fixed) :], shown, strict=True)
    ]
    return answer_map(answers, markers)


def _project(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    lats = [lat for lat, _ in places]
    lons = list(_unwrapped([lon for _, lon in places]))
    project = get_program().dataset_format.project
    return project((fmean(lats), fmean(lons)), lats, lons)


def _unwrapped(lons: Iterable[float]) -> Iterator[float]:
    """Relative to the first one: the places may lie on both sides of the 180th meridian."""
    first = None
    for lon in lons:
        first = lon if first is None else first
        yield first + (lon - first + 180) % 360 - 180


def _tooltip(position: Position) -> str:
    name = f"{position['sample_id']}: " if position["sample_id"] else ""
    return f"{name}{position['locator']}; 68 % ellipse {_axes(position['ellipse_68'])}"
