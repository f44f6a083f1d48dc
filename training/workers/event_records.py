"""What the values of TensorBoard's events become: points, and files of the job."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from heimdall_sdk.event_files import Event
from heimdall_sdk.event_values import Histogram, Hyperparameters, Image, Text, Value
from heimdall_sdk.messages import Point
from heimdall_sdk.messages import Value as Number
from heimdall_sdk.text import clean_name, clean_text, clean_values
from training.jobs.artifacts import SAVED, ArtifactNameError, check_name
from training.points.limits import MAX_NAME_LENGTH
from training.programs.durable_write import temporary_path

# Of the files that are made from images and texts, in one attempt.
MAX_FILES, MAX_BYTES = 1_000, 256 << 20
EPOCH = "epoch"
FOLDER = "tensorboard"  # of the job's files
_FULL = (
    f"Images and texts of TensorBoard: the first {MAX_FILES:,} files, or {MAX_BYTES >> 20} MiB, of "
    "an attempt are kept, and there are more."
)
_NEGATIVE = "Values of TensorBoard with negative steps are not stored."


@dataclass(slots=True)
class EventRecorder:
    """Collects points and notes, and writes files, for one attempt in `folder`."""

    folder: Path
    steps_are_epochs: bool
    points: list[Point] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # Series that the program reports by itself.
    excluded: set[str] = field(default_factory=set)
    _files: int = 0
    _bytes: int = 0
    _noted: set[str] = field(default_factory=set)

    def add(self, prefix: str, events: Iterable[Event]) -> None:
        """Take over the events of one file; `prefix` comes before each tag.

        Scalars of one step that follow each other are one point.
        """
        step, time, values = 0, 0.0, dict[str, Number]()
        for event in events:
            scalars = self._scalars(prefix, event)
            if not scalars:
                continue
            if event.step < 0:
                self.note(_NEGATIVE)
                continue
            if values and (event.step != step or not values.keys().isdisjoint(scalars)):
                self._add_point(step, time, values)
                values = {}
            step, time = event.step, event.wall_time
            values.update(scalars)
        if values:
            self._add_point(step, time, values)

    def _add_point(self, step: int, time: float, values: dict[str, Number]) -> None:
        epoch = None
        if self.steps_are_epochs:
            named = values.get(EPOCH)  # as Lightning writes it
            epoch = int(named) if isinstance(named, float) and named.is_integer() else step
        self.points.append(Point(step=step, time=time, values=values, epoch=epoch))

    def take_points(self) -> list[Point]:
        """The points since the last call, without series that the program reports itself."""
        found, self.points = self.points, []
        if not self.excluded:
            return found
        shortened = (
            replace(point, values=values)
            for point in found
            if (values := {
                name: value for name, value in point.values.items() if name not in self.excluded
            })
        )  # fmt: skip
        return list(shortened)

    def take_notes(self) -> list[str]:
        found, self.notes = self.notes, []
        return found

    def _scalars(self, prefix: str, event: Event) -> dict[str, float]:
        scalars: dict[str, float] = {}
        for number, (tag, value) in enumerate(event.values):
            name = series_name(prefix + tag)
            match value:
                case float():
                    scalars[name] = value
                case Histogram():
                    for percentile, one in value.percentiles().items():
                        scalars[series_name(f"{prefix}{tag}/{percentile}")] = one
                case _:
                    self._save(name, event.step, number, value)
        return scalars

    def _save(self, name: str, step: int, number: int, value: Value) -> None:
        suffix = f"-{number}" if number else ""  # several images of one step
        match value:
            case Image(content=content, suffix=kind) if kind:
                self._write(f"{name}/{step:08}{suffix}{kind}", content)
            case Text(text=text):
                name = name.removesuffix("/text_summary")  # added by writers
                self._write(f"{name}/{step:08}{suffix}.txt", clean_text(text).encode())
            case Hyperparameters(values=values):
                content = json.dumps(clean_values(values), indent=2, sort_keys=True).encode()
                self._write("hyperparameters.json", content)

    def _write(self, name: str, content: bytes) -> None:
        if self._files >= MAX_FILES or self._bytes + len(content) > MAX_BYTES:
            self.note(_FULL)
            return
        with suppress(ArtifactNameError):  # a tag such as ../x
            check_name(f"{FOLDER}/{name}")
            try:
                path = self.folder / SAVED / FOLDER / name
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = temporary_path(path)
                temporary.write_bytes(content)
                temporary.replace(path)
            except OSError as error:
                self.note(f"An image or text of TensorBoard cannot be stored: {error.strerror}.")
            else:
                self._files += 1
                self._bytes += len(content)

    def note(self, text: str) -> None:
        """Each text is reported once."""
        if text not in self._noted:
            self._noted.add(text)
            self.notes.append(text)


def series_name(name: str) -> str:
    """A name that a series can have."""
    return clean_name(name)[:MAX_NAME_LENGTH].strip() or "unnamed"
