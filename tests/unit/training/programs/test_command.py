from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.training.programs.test_toml_manifest import load
from training.programs.command import fill, problem
from training.programs.manifest import ManifestError

VALUES = {
    "epochs": 20, "lr": 1e-05, "name": "a b; rm -rf $HOME", "tied": True, "amp": False,
    "run_directory": "/data/attempt-001",
}  # fmt: skip
MANIFEST = """
title = "Script"
command = ["python", "train.py", {words}]
[parameters]
epochs = {{ type = "integer", default = 3 }}
label = {{ type = "string", default = "x" }}
"""


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("--epochs={epochs}", ["--epochs=20"]),
        ("{epochs}", ["20"]),
        ("--lr={lr}", ["--lr=1e-05"]),
        ("--name={name}", ["--name=a b; rm -rf $HOME"]),
        ("--out={run_directory}/out", ["--out=/data/attempt-001/out"]),
        ("range={epochs}:{lr}", ["range=20:1e-05"]),
        ("--tied={tied}", ["--tied"]),
        ("--amp={amp}", []),
        ("-t={tied}", ["-t"]),
        ("trainer.amp={amp}", ["trainer.amp=false"]),
        ("{{epochs}}", ["{epochs}"]),
        ("dir=${paths}", ["dir=${paths}"]),
        ("dir=${paths.root}/x", ["dir=${paths.root}/x"]),
        ('{"a": {"b": 1}}', ['{"a": {"b": 1}}']),
        ("print({1: 2})", ["print({1: 2})"]),
    ],
)
def test_placeholder_in_a_command_word_is_replaced_within_that_word(
    word: str, words: list[str]
) -> None:
    assert fill(["python", word], VALUES) == ["python", *words]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (
            "--epochs={epoch}",
            (
                "{epoch} in '--epochs={epoch}' is not a parameter; there are epochs, label, "
                "run_directory, job_directory. Write {{epoch}} for a word in braces."
            ),
        ),
        (
            "{label}",
            (
                "'{label}' begins with a text that users choose, which the script could read as an "
                "option; write it behind one, as in '--option={label}'."
            ),
        ),
    ],
)
def test_invalid_command_is_refused_with_a_sentence(
    tmp_path: Path, word: str, sentence: str
) -> None:
    with pytest.raises(ManifestError) as raised:
        load(tmp_path, MANIFEST.format(words=f'"{word}"'))
    assert str(raised.value).endswith(f"command: {sentence}")


def test_executable_must_not_contain_a_parameter(tmp_path: Path) -> None:
    manifest = MANIFEST.format(words='"-v"').replace('["python"', '["python{epochs}"')
    with pytest.raises(ManifestError, match="is the executable"):
        load(tmp_path, manifest)


@pytest.mark.parametrize(
    "words",
    [
        ["sh", "-c", "train --label={label}"],
        ["/bin/bash", "-e", "-c", "train --label={label}"],
        ["bash", "-lc", "train --label={label}"],
        ["bash", "-euo", "pipefail", "-c", "train --label={label}"],
        ["python", "-c", "main('{label}')"],
        ["python3.12", "-u", "-c", "main('{label}')"],
        ["env", "-i", "HOME=/tmp", "sh", "-c", "train --label={label}"],
        ["/usr/bin/nice", "-n", "5", "/bin/sh", "-c", "train --label={label}"],
        ["perl", "-we", "print '{label}'"],
        ["node", "--eval", "console.log('{label}')"],
    ],
)
def test_text_of_users_is_not_part_of_code(words: list[str]) -> None:
    assert "is code, which a text that users choose could change" in problem(
        words, ["label"], ["label"]
    )


@pytest.mark.parametrize(
    "words",
    [
        ["sh", "-c", 'train --epochs={epochs} "$1"', "sh", "--label={label}"],
        ["bash", "train.sh", "-c", "label={label}"],
        ["python", "train.py", "-c", "label={label}"],
        ["train", "-c", "label={label}"],
        ["env", "HOME=/tmp", "bash", "train.sh", "-c", "label={label}"],
        ["perl", "train.pl", "-e", "label={label}"],
    ],
)
def test_text_of_users_may_be_an_argument(words: list[str]) -> None:
    assert problem(words, ["epochs", "label"], ["label"]) == ""


def test_command_may_use_every_parameter_and_the_run_directory(tmp_path: Path) -> None:
    words = '"--epochs={epochs}", "--label={label}", "--out={run_directory}"'
    assert load(tmp_path, MANIFEST.format(words=words)).command[2] == "--epochs={epochs}"
