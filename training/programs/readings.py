"""The interface of a program to tables of readings: what receivers heard at unknown positions."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from training.programs.datasets import PreviewColumn

MAX_READINGS = 200_000  # in a request


class ReadingOptions(BaseModel):
    """Receivers of the model, those without a fixed position, and its signals.

    `detection_rates`: the share of the training samples that a receiver heard, of those in service.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    receivers: list[str]
    mobile: list[str] = []
    signals: list[str]
    detection_rates: dict[str, float] = {}


class ReadingError(BaseModel):
    """A cell that cannot be read; `line` 0 means the whole table, no `column` the whole row."""

    reason: str
    line: int = 0
    column: str = ""

    def __str__(self) -> str:
        where = ", ".join(
            part for part in (
                f"row {self.line}" if self.line else "",
                f"column {self.column}" if self.column else "",
            ) if part
        )  # fmt: skip
        text = f"{where}: {self.reason}" if where else self.reason
        return f"{text[:1].upper()}{text[1:].rstrip('.')}."


class ReadingTable(BaseModel):
    """The readings as columns: lists of the same length, since a request may have 200,000.

    `lines` are the rows of the table that they come from. `notes` say how the table was read,
    `warnings` what may make the positions wrong. `text` is a small table as text that can be
    edited. Without `all_errors`, there are more errors.
    """

    lines: list[int] = []
    sample_ids: list[str] = []
    receiver_ids: list[str] = []
    signals: dict[str, list[float | None]] = {}
    errors: list[ReadingError] = []
    all_errors: bool = True
    columns: list[PreviewColumn] = []
    notes: list[str] = []
    warnings: list[str] = []
    text: str = ""

    def measurements(self) -> Iterator[dict[str, str | float]]:
        """The readings as rows of a request for predictions."""
        for index, (sample, receiver) in enumerate(
            zip(self.sample_ids, self.receiver_ids, strict=True)
        ):
            row: dict[str, str | float] = {"sample_id": sample, "receiver_id": receiver}
            for name, values in self.signals.items():
                if (value := values[index]) is not None:
                    row[name] = value
            yield row
