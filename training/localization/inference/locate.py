"""Questions to a trained model: rows of measurements in, places with their uncertainty out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.localization.geometry import Floats
from training.localization.inference.saved_model import SavedModel
from training.localization.localizer.clock_offsets import subtract_emission_time
from training.localization.localizer.features import Signals
from training.localization.metrics import mahalanobis_radius_squared

Row = Mapping[str, Any]
_SIGNALS = ("rssi_dbm", "snr_db", "toa_ns")


class InvalidMeasurementError(ValueError):
    """`field` and what is wrong with it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


@torch.no_grad()
def locate(
    model: SavedModel, rows: Sequence[Row], out_of_service: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """For each sample of `rows`, in the order of first mention, where it was sent.

    A row is one of measurements.csv: `sample_id` (left out: all rows are of one sample),
    `receiver_id`, `rssi_dbm`, `snr_db`, `toa_ns`, and `rx_lat`, `rx_lon`, `rx_alt_m` where the
    receiver moves. A receiver that stands still and has no row was silent, unless it is named as
    out of service. BadQuestion says which row is wrong.
    """
    column = {receiver.id: index for index, receiver in enumerate(model.receivers)}
    samples: dict[str, int] = {}
    for row in rows:
        samples.setdefault(_sample(row), len(samples))
    signals = np.full((3, len(samples), len(column)), np.nan)
    rx = np.tile(_places(model), (len(samples), 1, 1))
    in_service = np.tile([one.fixed for one in model.receivers], (len(samples), 1))
    for name in out_of_service:
        in_service[:, _column(column, name, "out_of_service")] = False
    for index, row in enumerate(rows):
        where = f"measurements.{index}"
        cell = samples[_sample(row)], _column(column, row["receiver_id"], f"{where}.receiver_id")
        if not np.isnan(signals[:, *cell]).all():
            raise InvalidMeasurementError(where, f"Receiver {row['receiver_id']!r} is there twice.")
        signals[:, *cell] = [_number(row, name) for name in _SIGNALS]
        if np.isnan(signals[:, *cell]).all():
            raise InvalidMeasurementError(
                where, f"No signal: give at least one of {', '.join(_SIGNALS)}."
            )
        in_service[cell] = True
        if row.get("rx_lat") is not None and row.get("rx_lon") is not None:
            rx[cell] = model.frame.to_local_3d(
                row["rx_lat"], row["rx_lon"], _number(row, "rx_alt_m")
            )
    rssi, snr, toa = signals
    arrays = (rssi, snr, subtract_emission_time(toa), rx)
    tensors = [torch.from_numpy(one.astype(np.float32)) for one in arrays]
    asked = Signals._make([*tensors, torch.from_numpy(in_service)])
    mean, covariance = model.answer(*asked)
    return _predictions(model, list(samples), mean.numpy(), covariance.numpy())


def _predictions(
    model: SavedModel, names: list[str], mean: Floats, covariance: Floats
) -> list[dict[str, Any]]:
    lat, lon = model.frame.to_geodetic(mean)
    return [
        {
            "sample_id": name,
            "lat": float(lat[index]),
            "lon": float(lon[index]),
            "covariance_m2": covariance[index].tolist(),
            "ellipse_68": ellipse(covariance[index], 0.68),
            "ellipse_95": ellipse(covariance[index] * model.answer.stretch_95, 0.95),
        }
        for index, name in enumerate(names)
    ]


def ellipse(covariance: Floats, share: float) -> dict[str, float]:
    """The ellipse that holds `share`: half axes in metres, and where the longer one points, in
    degrees clockwise from north (0 to 180)."""
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
            field, f"This model knows no receiver {name!r}; it knows {', '.join(columns)}."
        )
    return columns[name]


def _number(row: Row, name: str) -> float:
    value = row.get(name)
    return math.nan if value is None else float(value)


def _places(model: SavedModel) -> NDArray[np.float64]:
    """[R, 3] metres, NaN where a receiver has no place of its own."""
    places = np.full((len(model.receivers), 3), np.nan)
    for index, one in enumerate(model.receivers):
        if one.lat is not None and one.lon is not None:
            alt = math.nan if one.alt_m is None else one.alt_m
            places[index] = model.frame.to_local_3d(one.lat, one.lon, alt)
    return places
