"""The table of docs/clients.md lists the existing operations."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

from training.trackio.urls import urlpatterns

PAGE = Path(settings.BASE_DIR) / "docs/clients.md"
# The last column of a row.
_OPERATIONS = re.compile(r"^\|.*\|([^|]*)\|$", re.MULTILINE)


def test_documented_operations_are_those_that_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("| of Trackio's client |")[2].partition("\n\n")[0]
    documented = {
        name for column in _OPERATIONS.findall(table) for name in re.findall(r"`([^`]+)`", column)
    }
    existing = {str(one.pattern).removeprefix("api/") for one in urlpatterns}
    assert documented == existing
