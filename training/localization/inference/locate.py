"""Inference: rows of measurements in, positions with their uncertainty out."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Required, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from training.localization.geometry import Floats
from training.localization.inference.saved_model import SavedModel
from training.localization.localizer.clock_offsets import subtract_emission_time
from training.localization.localizer.features import Signals
from training.localization.maidenhead import format_locator
from training.localization.metrics import mahalanobis_radius_squared
from training.programs.positions import Ellipse, Position

# A request may have 200,000 samples, and a model 1,000 receivers: arrays of all of them at once
# would take 10 GB. The distances of 1,024 samples to 20,000 neighbors take 80 MB.
MAX_BATCH_SAMPLES, MAX_BATCH_CELLS = 1024, 1_000_000
_SIGNALS = ("rssi_dbm", "snr_db", "toa_ns")


class Row(TypedDict, total=False):
    """A row of measurements.csv. Without `sample_id`, all rows are one sample.

    `rx_lat`, `rx_lon` and `rx_alt_m` are the position of a mobile receiver.
    """

    sample_id: str | None
    receiver_id: Required[str]
    rssi_dbm: float | None
    snr_db: float | None
    toa_ns: float | None
    rx_lat: float | None
    rx_lon: float | None
    rx_alt_m: float | None


class InvalidMeasurementError(ValueError):
    """A field of the measurements is invalid."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


@torch.no_grad()
def locate(
    model: SavedModel, rows: Sequence[Row], out_of_service: Sequence[str] = ()
) -> Iterator[list[Position]]:
    """Locate each sample of `rows`, in the order of their first rows; yield them in batches.

    A receiver that does not move and has no row was in service and received nothing, unless it is
    listed in `out_of_service`. Raises InvalidMeasurementError.
    """
    # Names in requests are normalized; those of older models may not be.
    column = {
        unicodedata.normalize("NFC", receiver.id): index
        for index, receiver in enumerate(model.receivers)
    }
    for name in out_of_service:
        _column(column, name, "out_of_service")
    samples: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        samples.setdefault(_sample(row), []).append(index)
    size = max(1, min(MAX_BATCH_SAMPLES, MAX_BATCH_CELLS // len(column)))
    names = iter(samples)
    while batch := list(islice(names, size)):
        indices = [samples[name] for name in batch]
        inputs = _to_signals(model, column, rows, indices, out_of_service)
        mean, covariance = model.localizer(*inputs)
        # In the order of the model's receivers: the order of rows means nothing.
        heard = [
            sorted((rows[index]["receiver_id"] for index in sample), key=column.__getitem__)
            for sample in indices
        ]
        yield _positions(model, batch, heard, mean.numpy(), covariance.numpy())


def _to_signals(
    model: SavedModel,
    column: dict[str, int],
    rows: Sequence[Row],
    samples: Sequence[Sequence[int]],
    out_of_service: Sequence[str],
) -> Signals:
    """The measurements of the samples, each given by the indices of its rows."""
    signals = np.full((3, len(samples), len(column)), np.nan)
    rx = np.tile(_fixed_positions(model), (len(samples), 1, 1))
    in_service = np.tile(model.stationary, (len(samples), 1))
    in_service[:, [column[name] for name in out_of_service]] = False
    for sample, indices in enumerate(samples):
        for index in indices:
            row, where = rows[index], f"measurements.{index}"
            cell = sample, _column(column, row["receiver_id"], f"{where}.receiver_id")
            if not np.isnan(signals[:, *cell]).all():
                raise InvalidMeasurementError(
                    where,
                    f"Receiver {row['receiver_id']!r} occurs twice in a sample; send one row.",
                )
            values = (row.get("rssi_dbm"), row.get("snr_db"), row.get("toa_ns"))
            signals[:, *cell] = [_number(value) for value in values]
            if np.isnan(signals[:, *cell]).all():
                raise InvalidMeasurementError(
                    where, f"No signal: give at least one of {', '.join(_SIGNALS)}."
                )
            in_service[cell] = True
            position = _position(model, row, where)
            if position is not None:
                rx[cell] = position
    rssi, snr, toa = signals
    arrays = (rssi, snr, subtract_emission_time(toa), rx)
    tensors = [torch.from_numpy(array.astype(np.float32)) for array in arrays]
    return Signals._make([*tensors, torch.from_numpy(in_service)])


def _position(model: SavedModel, row: Row, where: str) -> Floats | None:
    lat, lon = row.get("rx_lat"), row.get("rx_lon")
    if (lat is None) != (lon is None):
        raise InvalidMeasurementError(where, "Give both rx_lat and rx_lon, or neither.")
    if lat is None or lon is None:
        return None
    return model.frame.to_local_3d(lat, lon, _number(row.get("rx_alt_m")))


def _positions(
    model: SavedModel,
    names: list[str],
    heard: list[list[str]],
    mean: Floats,
    covariance: Floats,
) -> list[Position]:
    lats, lons = model.frame.to_geodetic(mean)
    local = None
    if model.coordinates:
        local = model.coordinates.from_geodetic(lats, lons).tolist()
    positions: list[Position] = []
    for index, (name, lat, lon) in enumerate(zip(names, lats.tolist(), lons.tolist(), strict=True)):
        ellipse_68 = ellipse(covariance[index], 0.68)
        positions.append(
            {
                "sample_id": name,
                "lat": lat,
                "lon": lon,
                "covariance_m2": covariance[index].tolist(),
                "ellipse_68": ellipse_68,
                "ellipse_95": ellipse(covariance[index] * model.localizer.stretch_95, 0.95),
                "locator": format_locator(lat, lon, 2 * ellipse_68["semi_major_m"]),
                "receivers": heard[index],
            }
        )
        if local is not None:
            positions[-1]["x_m"], positions[-1]["y_m"] = local[index]
    return positions


def ellipse(covariance: Floats, share: float) -> Ellipse:
    """The ellipse that contains `share` of a Gaussian with this covariance [2, 2]."""
    variances, axes = np.linalg.eigh(covariance)
    radius = math.sqrt(mahalanobis_radius_squared(share))
    east, north = axes[:, 1]
    return {
        "semi_major_m": radius * math.sqrt(float(variances[1])),
        "semi_minor_m": radius * math.sqrt(float(variances[0])),
        "azimuth_deg": math.degrees(math.atan2(float(east), float(north))) % 180.0,
    }


def _sample(row: Row) -> str:
    return str(row.get("sample_id") or "")


def _column(columns: dict[str, int], name: str, field: str) -> int:
    if name not in columns:
        raise InvalidMeasurementError(
            field, f"The model has no receiver {name!r}; it has {', '.join(columns)}."
        )
    return columns[name]


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _fixed_positions(model: SavedModel) -> NDArray[np.float64]:
    """[R, 3] meters, NaN for mobile receivers."""
    positions = np.full((len(model.receivers), 3), np.nan)
    for index, receiver in enumerate(model.receivers):
        if receiver.lat is not None and receiver.lon is not None:
            alt = math.nan if receiver.alt_m is None else receiver.alt_m
            positions[index] = model.frame.to_local_3d(receiver.lat, receiver.lon, alt)
    return positions
