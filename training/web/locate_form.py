"""The form of the page Locate: its input, and the positions or errors that it gives."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.files.base import ContentFile, File
from django.http import HttpRequest, QueryDict
from rest_framework.exceptions import APIException

from training.accounts.limits import LimitReachedError
from training.accounts.permissions import signed_in_user
from training.api.predictions import known_signals, predict
from training.datasets import service as datasets
from training.models import TrainedModel
from training.programs.datasets import DatasetImportError
from training.programs.measurements import ExactFloat
from training.programs.positions import Positions
from training.programs.readings import ReadingOptions, ReadingTable
from training.typed_numbers import NumberFormatError, normalize_number
from training.validation import InvalidInputError

PASTED = "The pasted table"
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


@dataclass(slots=True)
class Outcome:
    """The positions of a submitted form, or its errors."""

    source: str
    is_file: bool = False
    positions: Positions = field(default_factory=lambda: Positions([], 0))
    table: ReadingTable | None = None
    input_errors: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def is_refused(self) -> bool:
        return len(self.positions) == 0


class Receivers:
    """The receivers of a model, from the facts of its dataset."""

    def __init__(self, model: TrainedModel) -> None:
        facts = model.job.dataset.facts if model.job.dataset else {}
        self.all: list[Mapping[str, Any]] = facts.get("receivers", [])
        self.ids = [str(receiver["id"]) for receiver in self.all]
        self.numbers = {name: number for number, name in enumerate(self.ids)}

    def detection_rates(self, out_of_service: Collection[str]) -> dict[str, float]:
        return {
            name: float(one.get("heard_share", 0.0))
            for name, one in zip(self.ids, self.all, strict=True)
            if name not in out_of_service
        }

    @property
    def mobile(self) -> list[str]:
        return [name for name, one in zip(self.ids, self.all, strict=True) if one["lat"] is None]


def shown_text(typed: QueryDict, outcome: Outcome | None) -> str:
    """The pasted text, or a small file as text, because browsers do not keep a chosen file.

    A large file is not returned; downloads compute the positions from the form's content.
    """
    if outcome is None or outcome.table is None or not outcome.is_file:
        return typed.get("table", "")
    return outcome.table.text


def reading_inputs(
    model: TrainedModel, receivers: Receivers, typed: QueryDict, outcome: Outcome | None
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


def compute_outcome(
    request: HttpRequest, model: TrainedModel, receivers: Receivers, source: str
) -> Outcome:
    """Locate with the part of the form whose button was pressed."""
    file, text = request.FILES.get("file"), request.POST.get("table", "")
    if source != "table":
        return _answer_inputs(request, model, receivers)
    outcome = Outcome("table", is_file=file is not None)
    if file is None and not text.strip():
        outcome.problems.append("Paste a table or choose a file.")
        return outcome
    sent: File[Any] = file or ContentFile(text.encode(), name=PASTED)
    options = ReadingOptions(
        receivers=receivers.ids,
        mobile=receivers.mobile,
        signals=known_signals(model),
        detection_rates=receivers.detection_rates(request.POST.getlist("out_of_service")),
    )
    try:
        outcome.table = table = datasets.read_readings(signed_in_user(request), sent, options)
    except (DatasetImportError, LimitReachedError) as error:
        outcome.problems.append(f"{str(error).rstrip('.')}.")
        return outcome
    if file is not None and text.strip():
        table.warnings.insert(0, f"{file.name} was read; the text in the form was not used.")
    if table.errors:
        outcome.problems += map(str, table.errors)
        if not table.all_errors:
            outcome.problems.append("There are more errors.")
        return outcome
    _predict(request, model, list(table.measurements()), outcome)
    return outcome


def _answer_inputs(request: HttpRequest, model: TrainedModel, receivers: Receivers) -> Outcome:
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
    """Store the positions or the errors in `outcome`; return the errors of fields of `rows`."""
    sent = {"measurements": rows, "out_of_service": request.POST.getlist("out_of_service")}
    try:
        positions = predict(signed_in_user(request), model, sent)
        if any(position["lat"] is not None for position in positions):
            outcome.positions = positions
        else:
            outcome.problems.append("The model found no valid position for these readings.")
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
    """The typed measurements, and an error message for each input that is not a number."""
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
