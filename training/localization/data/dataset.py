"""A dataset as arrays, and its file in safetensors format."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from training.localization.config import Physics
from training.localization.geometry import LocalCoordinates, LocalFrame
from training.programs.durable_write import move_durably, temporary_path
from training.programs.messages import FinalError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SIGNALS = ("rssi", "snr", "toa")
_ARRAYS = ("target", *SIGNALS, "rx", "in_service", "split", "group")


class DatasetFileError(FinalError):
    """The file is missing, damaged or not a dataset."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Degrees on WGS-84 and meters; None if it is mobile or its position is unknown."""

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

    * `target` f32 [N, 2]: meters in `frame`.
    * `rssi` (dBm), `snr` (dB), `toa` (ns, on a clock shared by the receivers of a sample) f32
      [N, R]: NaN where absent.
    * `rx` f32 [N, R, 3]: receiver positions in meters, the third above ground; NaN where unknown.
    * `in_service` bool [N, R]: in service without a signal means below the detection threshold,
      which is information; out of service means nothing is known.
    * `split` i8 [N]: index into SPLITS. `group` i32 [N]: samples of a group share a split.
    * `physics`: the settings of a synthetic dataset, else None.
    * `split_by`: how the split was made (see `splits`).
    * `coordinates`: those that the positions were given in; None: degrees.
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
    physics: Physics | None = None
    sample_ids: tuple[str, ...] | None = None
    split_by: str = ""
    coordinates: LocalCoordinates | None = None

    def __len__(self) -> int:
        return len(self.target)

    @cached_property
    def heard(self) -> NDArray[np.bool_]:
        """[N, R]: whether the receiver measured any signal."""
        return ~(np.isnan(self.rssi) & np.isnan(self.snr) & np.isnan(self.toa))

    @cached_property
    def stationary(self) -> NDArray[np.bool_]:
        """[R]: whether the receiver never moves, even if its position is unknown."""
        fixed = np.array([receiver.fixed for receiver in self.receivers], bool)
        return np.asarray(fixed | np.isnan(self.rx[..., 0]).all(axis=0))

    def rows(self, split: Split) -> NDArray[np.intp]:
        return np.flatnonzero(self.split == SPLITS.index(split))

    @cached_property
    def content_hash(self) -> str:
        digest = hashlib.sha256(self._header().encode())
        for array in self._stored_arrays().values():
            digest.update(repr((array.dtype.str, array.shape)).encode())
            digest.update(array.data)
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        temporary = temporary_path(path)
        metadata = {"heimdall": self._header(), "sha256": self.content_hash}
        try:
            save_file(self._stored_arrays(), temporary, metadata=metadata)
            move_durably(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Dataset:
        """Read a file written by `save`; raise DatasetFileError if it is missing or damaged."""
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata()
                header = json.loads(metadata["heimdall"])
                arrays = {name: file.get_tensor(name) for name in _ARRAYS}
        except FileNotFoundError as error:
            raise DatasetFileError(f"The dataset file {path} does not exist.") from error
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DatasetFileError(f"{path} is not a Heimdall dataset: {error}") from error
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
            coordinates=LocalCoordinates(**local) if (local := header.get("coordinates")) else None,
            **arrays,
        )
        if dataset.content_hash != metadata.get("sha256"):
            raise DatasetFileError(f"{path} is damaged: the content does not match the checksum.")
        return dataset

    def _header(self) -> str:
        frame = asdict(self.frame)
        if not self.frame.alt0:
            del frame["alt0"]  # keeps the hash of datasets from before `alt0`
        header = {
            "receivers": [asdict(receiver) for receiver in self.receivers],
            "frame": frame,
            "kind": self.kind,
            "physics": self.physics,
            "sample_ids": self.sample_ids,
        }
        if self.split_by:
            header["split_by"] = self.split_by
        if self.coordinates:
            header["coordinates"] = asdict(self.coordinates)
        return json.dumps(header, sort_keys=True)

    def _stored_arrays(self) -> dict[str, NDArray[Any]]:
        # The arrays as stored: `rx` only once if no receiver moves.
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        constant = np.broadcast_to(self.rx[:1], self.rx.shape)
        if self.rx.strides[0] == 0 or np.array_equal(self.rx, constant, equal_nan=True):
            arrays["rx"] = self.rx[:1]
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
