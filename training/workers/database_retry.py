"""Writes that a lost database only delays."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 1.0
Result = TypeVar("Result")

log = logging.getLogger(__name__)


def retry_while_unavailable(write: Callable[[], Result], give_up: Callable[[], bool]) -> Result:
    """Retry until the call succeeds or `give_up` returns true; then raise the last error.

    A connection that is cut while it commits leaves open whether it did: so `write` must be a
    compare-and-set, which finds out.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            found = write()
        except (OperationalError, InterfaceError) as error:
            if give_up():
                raise
            if pause == FIRST_PAUSE_SECONDS:
                log.warning("The database is away; what happened waits for it: %s", error)
            connection.close()
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        else:
            if pause > FIRST_PAUSE_SECONDS:
                log.warning("The database is back.")
            return found
