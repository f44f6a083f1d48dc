"""A dataset in arrays, and its file: everything a training needs, in one safetensors."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from training.localization.geometry import LocalFrame

SPLITS = ("train", "val", "test")
SIGNALS = ("rssi", "snr", "toa")
_ARRAYS = ("target", *SIGNALS, "rx", "in_service", "split", "group")


class DatasetFileError(Exception):
    """The file is missing, damaged, or not a dataset."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Degrees on WGS-84 and metres; None where it moves or its place is unknown."""

    id: str
    lat: float | None = None
    lon: float | None = None
    alt_m: float | None = None

    @property
    def fixed(self) -> bool:
        return self.lat is not None


@dataclass(frozen=True, eq=False)
class Dataset:
    """N samples, heard by up to R receivers.

    target f32 [N, 2] metres in `frame`; rssi (dBm), snr (dB), toa (ns on a clock that the receivers
    of one sample share) f32 [N, R], NaN where absent; rx f32 [N, R, 3] metres (above the ground
    third), NaN where unknown; in_service bool [N, R] (in service without a signal: below threshold,
    which is information; out of service: nothing is known); split i8 [N] (see SPLITS); group i32
    [N] (stays on one side of the split). `physics`: what made a synthetic one, None where that is
    unknown. `split_by`: in words, how the split was made.
    """

    receivers: tuple[Receiver, ...]
    frame: LocalFrame
    kind: str
    target: NDArray[np.float32]
    rssi: NDArray[np.float32]
    snr: NDArray[np.float32]
    toa: NDArray[np.float32]
    rx: NDArray[np.float32]
    in_service: NDArray[np.bool_]
    split: NDArray[np.int8]
    group: NDArray[np.int32]
    physics: dict[str, Any] | None = None
    sample_ids: tuple[str, ...] | None = None
    split_by: str = ""

    def __len__(self) -> int:
        return len(self.target)

    @cached_property
    def heard(self) -> NDArray[np.bool_]:
        """[N, R]: there is any signal."""
        return ~(np.isnan(self.rssi) & np.isnan(self.snr) & np.isnan(self.toa))

    def rows(self, split: str) -> NDArray[np.intp]:
        """The samples of `train`, `val` or `test`."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over everything in it: two datasets are the same if this is."""
        digest = hashlib.sha256(self._header().encode())
        for array in self._stored().values():
            digest.update(repr((array.dtype.str, array.shape)).encode())
            digest.update(array.data)
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        aside = path.with_name(f"{path.name}.{os.getpid()}.part")
        metadata = {"heimdall": self._header(), "sha256": self.content_hash}
        try:
            save_file(self._stored(), aside, metadata=metadata)
            with aside.open("rb") as written:
                os.fsync(written.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Dataset:
        """Read a file that `save` wrote; DatasetFileError says what is wrong with another."""
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata()
                header = json.loads(metadata["heimdall"])
                arrays = {name: file.get_tensor(name) for name in _ARRAYS}
        except FileNotFoundError as error:
            raise DatasetFileError(f"The dataset's file {path} is gone.") from error
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DatasetFileError(f"{path} is not a dataset of Heimdall: {error}") from error
        if len(arrays["rx"]) == 1:
            arrays["rx"] = np.broadcast_to(arrays["rx"], (*arrays["rssi"].shape, 3))
        ids = header["sample_ids"]
        dataset = cls(
            receivers=tuple(Receiver(**receiver) for receiver in header["receivers"]),
            frame=LocalFrame(**header["frame"]),
            kind=header["kind"],
            physics=header["physics"],
            sample_ids=None if ids is None else tuple(ids),
            split_by=header.get("split_by", ""),
            **arrays,
        )
        if dataset.content_hash != metadata.get("sha256"):
            raise DatasetFileError(f"{path} is damaged: its content does not match its checksum.")
        return dataset

    def _header(self) -> str:
        """All but the arrays; the same text whenever it says the same."""
        header: dict[str, Any] = {
            "receivers": [asdict(receiver) for receiver in self.receivers],
            "frame": asdict(self.frame),
            "kind": self.kind,
            "physics": self.physics,
            "sample_ids": self.sample_ids,
        }
        if not self.frame.alt0:
            del header["frame"]["alt0"]  # so that what lies at the sea keeps its older hash
        if self.split_by:
            header["split_by"] = self.split_by
        return json.dumps(header, sort_keys=True)

    def _stored(self) -> dict[str, NDArray[Any]]:
        """The arrays as the file holds them; receivers that all stand still are kept once."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        still = np.broadcast_to(self.rx[:1], self.rx.shape)
        if self.rx.strides[0] == 0 or np.array_equal(self.rx, still, equal_nan=True):
            arrays["rx"] = self.rx[:1]
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
