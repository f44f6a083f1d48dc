from __future__ import annotations

import json

import numpy as np
import pytest

from training.localization.data.dataset import Dataset
from training.localization.localizer.normalizer import Normalizer


def test_positions_survive_the_way_to_units_and_back(arrays: Dataset) -> None:
    normalizer = Normalizer.fit(arrays, arrays.rows("train"))
    units = normalizer.positions_to_units(arrays.target)
    back = units * normalizer.metres_per_unit + np.array(normalizer.center)
    assert back == pytest.approx(arrays.target, abs=0.1)
    assert np.sqrt((units**2).mean()) == pytest.approx(1, rel=0.2)


def test_the_normaliser_travels_as_json(arrays: Dataset) -> None:
    normalizer = Normalizer.fit(arrays, arrays.rows("train"))
    assert Normalizer.from_dict(json.loads(json.dumps(normalizer.to_dict()))) == normalizer
