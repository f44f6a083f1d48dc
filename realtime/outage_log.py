"""Logging of outages for loops that keep retrying."""

from __future__ import annotations

import logging


class OutageLog:
    """Logs the first of a series of failures and the recovery, not every failed attempt."""

    def __init__(self, log: logging.Logger, failure: str, recovery: str) -> None:
        """`failure` contains one `%s` for the exception."""
        self._log, self._failure, self._recovery = log, failure, recovery
        self.ongoing = False

    def record_failure(self, error: Exception) -> None:
        if not self.ongoing:
            self._log.warning(self._failure, repr(error))
        self.ongoing = True

    def record_success(self) -> None:
        if self.ongoing:
            self._log.warning(self._recovery)
        self.ongoing = False
