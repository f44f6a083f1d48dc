from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from training.engine.dataset import Dataset
from training.engine.features import FEATURES, Normaliser, encode, relative_toa


def test_positions_survive_the_way_to_units_and_back(arrays: Dataset) -> None:
    normaliser = Normaliser.fit(arrays, arrays.rows("train"))
    units = normaliser.positions_to_units(arrays.target)
    assert normaliser.positions_to_metres(units) == pytest.approx(arrays.target, abs=0.1)
    assert np.sqrt((units**2).mean()) == pytest.approx(1, rel=0.2)


def test_the_normaliser_travels_as_json(arrays: Dataset) -> None:
    normaliser = Normaliser.fit(arrays, arrays.rows("train"))
    assert Normaliser.from_dict(json.loads(json.dumps(normaliser.to_dict()))) == normaliser


def test_the_moment_of_sending_does_not_matter() -> None:
    toa = np.array([[10.0, np.nan, 30.0]])
    assert relative_toa(toa + 1e6) == pytest.approx(relative_toa(toa), nan_ok=True)


def test_out_of_service_is_masked_and_silent_is_not(arrays: Dataset) -> None:
    in_service = arrays.in_service.copy()
    in_service[:, 2] = False
    rssi = arrays.rssi.copy()
    rssi[:, 1] = np.nan
    changed = replace(arrays, in_service=in_service, rssi=rssi)
    features = encode(changed, Normaliser.fit(changed, changed.rows("train")))
    assert not features.mask[:, 2].any()
    assert (features.tokens[:, 2] == 0).all()
    assert features.mask[:, 1].all()
    assert (features.tokens[:, 1, FEATURES.index("has_rssi")] == 0).all()
    assert np.isfinite(features.tokens).all()
