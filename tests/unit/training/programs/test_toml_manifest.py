from __future__ import annotations

from pathlib import Path

import pytest

from training.programs.manifest import ManifestError, Program
from training.programs.toml_manifest import FILE, load_program
from training.validation import InvalidInputError, validate

DIGITS = """
title = "Digits"
command = ["python", "train.py"]
needs = "auto"
resumable = true
objective = { metric = "val_loss", direction = "minimize" }
[parameters]
epochs = { type = "integer", default = 20, minimum = 1, maximum = 1000 }
learning_rate = { type = "number", default = 0.001, exclusiveMinimum = 0, maximum = 1, title = "L" }
optimizer = { enum = ["adam", "sgd"], default = "adam" }
[metrics.val_accuracy]
title = "Validation accuracy"
unit = "%"
direction = "maximize"
"""


def load(tmp_path: Path, text: str, name: str = "digits") -> Program:
    folder = tmp_path / name
    folder.mkdir()
    (folder / FILE).write_text(text)
    return load_program(folder)


def test_manifest_of_the_contract_is_read(tmp_path: Path) -> None:
    program = load(tmp_path, DIGITS)
    assert (program.name, program.title, program.resumable) == ("digits", "Digits", True)
    assert program.command == ("python", "train.py")
    assert program.folder == tmp_path / "digits"
    assert program.objective_metric == program.headline_name == "val_loss"
    assert program.metrics["val_accuracy"].title == "Validation accuracy"
    assert program.direction_of("val_accuracy") == "maximize"
    assert program.parameters().model_dump() == {
        "epochs": 20, "learning_rate": 0.001, "optimizer": "adam",
    }  # fmt: skip
    assert program.parameter_title("learning_rate") == "L"
    assert program.parameter_title("epochs") == "Epochs"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epochs": 0}, "epochs: 0 is too small; it must be at least 1."),
        ({"epochs": 2.5}, "epochs: 2.5 is not a whole number."),
        ({"learning_rate": 0}, "learning_rate: 0 is too small; it must be greater than 0."),
        ({"optimizer": "lion"}, "optimizer: 'lion' is not one of 'adam' or 'sgd'."),
        ({"epoch": 3}, "epoch: Unknown field; did you mean 'epochs'?"),
    ],
)
def test_parameters_are_validated_with_a_sentence(
    tmp_path: Path, values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        validate(load(tmp_path, DIGITS).parameters, values)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('title = "Digits"', 'titel = "Digits"'), "titel: Unknown field; did you mean 'title'?"),
        (('command = ["python", "train.py"]', "command = []"), "command: Too few items; at least"),
        (('needs = "auto"', 'needs = "tpu"'), "needs: 'tpu' is not one of 'auto', 'cpu' or 'gpu'"),
        (('type = "integer", ', ""), r"parameters.epochs: needs a type \(integer, number, string"),
        (("default = 20", "default = 0"), "parameters.epochs.default: 0 is too small; it must"),
        (('default = "adam"', 'default = "lion"'), "parameters.optimizer.default: 'lion' is not"),
        (("epochs =", "dataset ="), "parameters.dataset: this name is reserved"),
        (("epochs =", "lambda ="), "parameters.lambda: not a valid name"),
        (("minimum = 1,", "minimum = 1, step = 2,"), "parameters.epochs.step: Unknown field."),
        (("[parameters]", "[parameters"), "not valid TOML"),
        (('resumable = true', 'resumable = true\npython = "env/bin/python"'), "does not exist"),
        (('resumable = true', 'resumable = true\nheadline = "f1"'), "metric 'f1' is not declared"),
    ],
)  # fmt: skip
def test_error_in_a_manifest_names_file_and_field(
    tmp_path: Path, change: tuple[str, str], sentence: str
) -> None:
    assert change[0] in DIGITS
    with pytest.raises(ManifestError, match=sentence) as refused:
        load(tmp_path, DIGITS.replace(*change))
    assert str(refused.value).startswith(str(tmp_path / "digits" / FILE))


def test_name_of_the_folder_must_be_usable_in_urls(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="lower-case letters, digits"):
        load(tmp_path, DIGITS, name="My digits")


def test_program_without_parameters_or_objective_is_valid(tmp_path: Path) -> None:
    program = load(tmp_path, 'title = "Script"\ncommand = ["python", "train.py"]')
    assert program.parameters().model_dump() == {}
    assert (program.objective, program.headline_name, program.objective_choices) == (None, "", ())
    assert not program.resumable
