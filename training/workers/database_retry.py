"""Writes that an unavailable database only delays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from realtime.outage_log import OutageLog

FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 0.1, 1.0
Result = TypeVar("Result")

log = logging.getLogger(__name__)


def retry_while_unavailable(write: Callable[[], Result], give_up: Callable[[], bool]) -> Result:
    """Retry until the call succeeds or `give_up` returns true; then raise the last error.

    A connection that breaks during a commit leaves open whether it committed, so `write` must be a
    compare-and-set.
    """
    outage = OutageLog(
        log,
        failure="The database is unavailable; the writes of the job wait: %s",
        recovery="The database is available again.",
    )

    def reconnect(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, Exception)
        outage.record_failure(error)
        connection.close()

    retrying = Retrying(
        retry=retry_if_exception_type((OperationalError, InterfaceError)),
        wait=wait_exponential(multiplier=FIRST_DELAY_SECONDS, max=MAX_DELAY_SECONDS),
        stop=lambda _: give_up(),
        before_sleep=reconnect,
        reraise=True,
    )
    result = retrying(write)
    outage.record_success()
    return result
