from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from training.localization.config import GenerateConfig, ImportConfig, TrainConfig
from training.localization.receivers import ITALY

MODELS = (TrainConfig, GenerateConfig, ImportConfig)


@pytest.mark.parametrize("model", MODELS)
def test_every_field_has_a_title_and_a_description(model: type[BaseModel]) -> None:
    for name, info in model.model_fields.items():
        assert info.title, name
        assert info.description, name


@pytest.mark.parametrize("model", MODELS)
def test_defaults_are_valid(model: type[BaseModel]) -> None:
    assert model.model_validate(model().model_dump()) == model()


@pytest.mark.parametrize("model", MODELS)
def test_unknown_field_is_an_error(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate({"epoch": 3})


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"dropout": 1},
        {"members": 17},
        {"model": "cnn"},
        {"precision": "fp16"},
    ],
    ids=str,
)
def test_hyperparameter_out_of_bounds_is_an_error(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainConfig.model_validate(values)


def test_width_error_names_the_width_and_a_multiple_that_works() -> None:
    match = r"heads\n.*3 does not divide the width \(hidden = 256\); choose a .* multiple of 3"
    with pytest.raises(ValidationError, match=match):
        TrainConfig(heads=3)
    assert TrainConfig(heads=3, hidden=255).hidden == 255


def test_swapped_coordinates_are_an_error() -> None:
    swapped = ITALY[0].model_copy(update={"lat": ITALY[0].lon, "lon": ITALY[0].lat})
    with pytest.raises(ValidationError, match="Are latitude and longitude swapped"):
        GenerateConfig(receivers=(*ITALY[1:], swapped))


def test_physics_contains_every_setting_except_the_receivers() -> None:
    config = GenerateConfig(samples=50, shadowing_reach_km=2.0, timing_sigma_ns=None)
    physics = config.physics()
    assert set(physics) == set(GenerateConfig.model_fields) - {"receivers"}
    assert physics["timing_sigma_ns"] is None
    assert GenerateConfig.model_validate(physics) == config
