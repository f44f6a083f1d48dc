"""Saved models: loading, and reasons for rejecting a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.localization.checkpoints import safetensors_file
from training.localization.data.dataset import Dataset
from training.localization.evaluation.evaluate import evaluate_localizer
from training.localization.fit.state import TrainState
from training.localization.geometry import LocalCoordinates
from training.localization.inference.saved_model import (
    CARD,
    FORMAT,
    ModelError,
    load_model,
    save_model,
)
from training.localization.localizer.localizer import Localizer, predict_split
from training.programs.checkpoint_files import MODEL

VERSION_0_2 = Path(__file__).parent / "version_0_2"


@pytest.fixture
def copied(model_file: Path, tmp_path: Path) -> Path:
    for name in (model_file.name, CARD):
        (tmp_path / name).write_bytes(model_file.with_name(name).read_bytes())
    return tmp_path / model_file.name


def test_loaded_model_predicts_as_the_saved_one(
    copied: Path, localizer: Localizer, arrays: Dataset
) -> None:
    loaded = load_model(copied)
    rows = arrays.rows("test")
    expected = predict_split(localizer, arrays, rows)
    found = predict_split(loaded.localizer, arrays, rows)
    assert found.mean == pytest.approx(expected.mean, abs=1e-3)
    assert found.covariance == pytest.approx(expected.covariance, rel=1e-4)
    assert [one.id for one in loaded.receivers] == [one.id for one in arrays.receivers]
    assert loaded.frame == arrays.frame


def test_model_keeps_the_local_coordinates_of_its_dataset(
    tmp_path: Path, trained_state: TrainState, localizer: Localizer, arrays: Dataset
) -> None:
    local = replace(arrays, coordinates=LocalCoordinates(45.0, 7.5, 100.0, -20.0))
    save_model(tmp_path, localizer, trained_state, local, evaluate_localizer(localizer, arrays))
    assert load_model(tmp_path / MODEL).coordinates == local.coordinates


def test_card_describes_origin_and_result(copied: Path, trained_state: TrainState) -> None:
    card = json.loads(copied.with_name(CARD).read_text())
    assert card["model_sha256"] == hashlib.sha256(copied.read_bytes()).hexdigest()
    assert card["dataset_sha256"] == trained_state.dataset_hash
    assert card["config"]["members"] == 2
    assert card["best_epoch"] == trained_state.best_epoch
    assert card["parameters"] > 0
    assert card["metrics"]["test"]["rmse_m"] > 0
    assert set(card["versions"]) == {"python", "torch", "numpy"}


def _flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _with_card_of(path: Path) -> None:
    card = json.loads(path.with_name(CARD).read_text())
    card["model_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(CARD).write_text(json.dumps(card))


def _not_safetensors(path: Path) -> None:
    path.write_bytes(b"no model")
    _with_card_of(path)


def _other_format(path: Path) -> None:
    content = path.read_bytes()
    about = safetensors_file.read_metadata(content)
    assert about["format"] == FORMAT
    # The metadata is JSON inside the header: exchange one digit, so that lengths stay the same.
    path.write_bytes(content.replace(rb"\"format\": 4", rb"\"format\": 9", 1))
    assert path.read_bytes() != content
    _with_card_of(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "cannot be read"),
        (lambda path: path.with_name(CARD).unlink(), "cannot be read"),
        (lambda path: path.with_name(CARD).write_text("{"), "cannot be read"),
        (_flip_last_byte, "is damaged: its content does not match its card"),
        (_not_safetensors, "is not a model"),
        (_other_format, "has format 9, this version reads 2, 3, 4"),
    ],
    ids=["no file", "no card", "card is no JSON", "flipped bit", "no safetensors", "format"],
)
def test_unreadable_model_is_refused_with_the_reason(
    copied: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(copied)
    with pytest.raises(ModelError, match=message):
        load_model(copied)


@pytest.mark.parametrize("refined", [False, True])
def test_model_of_version_0_2_still_predicts_the_same_positions(
    arrays: Dataset, refined: bool
) -> None:
    localizer = load_model(VERSION_0_2 / MODEL).localizer
    localizer.refined = refined
    expected = json.loads((VERSION_0_2 / "predicted.json").read_text())[
        "refined" if refined else "network"
    ]
    found = predict_split(localizer, arrays, arrays.rows("test")[:3])
    # Another processor rounds differently than the one that wrote them.
    assert found.mean == pytest.approx(np.array(expected["mean"]), rel=1e-3)
    assert found.covariance == pytest.approx(np.array(expected["covariance"]), rel=1e-2)
