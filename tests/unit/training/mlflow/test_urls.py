"""The table of docs/clients.md lists the existing operations."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

from training.mlflow.urls import OPERATIONS

PAGE = Path(settings.BASE_DIR) / "docs/clients.md"
# The last column of a row.
_OPERATIONS = re.compile(r"^\|.*\|([^|]*)\|$", re.MULTILINE)
_CONVERTER = re.compile(r"<\w+:(\w+)>")


def test_documented_operations_are_those_that_exist() -> None:
    table = (
        PAGE.read_text(encoding="utf-8").partition("| client function |")[2].partition("\n\n")[0]
    )
    documented = {
        name for column in _OPERATIONS.findall(table) for name in re.findall(r"`([^`]+)`", column)
    }
    paths = {_CONVERTER.sub(r"{\1}", operation.path) for operation in OPERATIONS}
    existing = {path.removeprefix("mlflow/") for path in paths if path.startswith("mlflow/")}
    assert documented - {"operations", "mlflow-artifacts"} == existing
