from __future__ import annotations

import pytest
from pydantic import ValidationError

from training.localization.config import ITALY, GenerateConfig, TrainConfig


def test_every_field_has_a_title_and_a_description() -> None:
    for model in (TrainConfig, GenerateConfig):
        for name, info in model.model_fields.items():
            assert info.title, name
            assert info.description, name


def test_heads_have_to_divide_the_width() -> None:
    with pytest.raises(
        ValidationError, match=r"heads: 3 does not divide the width \(hidden = 256\)"
    ):
        TrainConfig(heads=3)


def test_swapped_coordinates_are_noticed() -> None:
    swapped = ITALY[0].model_copy(update={"lat": ITALY[0].lon, "lon": ITALY[0].lat})
    with pytest.raises(ValidationError, match="Are latitude and longitude swapped"):
        GenerateConfig(receivers=(*ITALY[1:], swapped))
