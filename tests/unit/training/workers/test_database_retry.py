from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from django.db import InterfaceError, OperationalError

from training.workers.database_retry import retry_while_unavailable


def failing(*errors: Exception) -> Callable[[], str]:
    """A write that raises each of `errors` once, and then succeeds."""
    remaining = list(errors)

    def write() -> str:
        if remaining:
            raise remaining.pop(0)
        return "written"

    return write


def test_write_is_retried_and_the_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write = failing(OperationalError("no route"), InterfaceError("closed"))
    assert retry_while_unavailable(write, give_up=lambda: False) == "written"
    assert caplog.messages == [
        "The database is unavailable; the writes of the job wait: OperationalError('no route')",
        "The database is available again.",
    ]


def test_last_error_is_raised_when_the_worker_shuts_down() -> None:
    give_up = iter([False, True])
    write = failing(OperationalError("first"), OperationalError("second"))
    with pytest.raises(OperationalError, match="second"):
        retry_while_unavailable(write, give_up=lambda: next(give_up))


def test_other_errors_are_not_retried() -> None:
    with pytest.raises(ValueError, match="invalid"):
        retry_while_unavailable(failing(ValueError("invalid")), give_up=lambda: False)
