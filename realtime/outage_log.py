"""Logging of outages for loops that keep retrying."""

from __future__ import annotations

import logging


class OutageLog:
    """Logs the first of a series of failures and the recovery, not every failed attempt."""

    def __init__(
        self, log: logging.Logger, failure: str, recovery: str, traceback: bool = False
    ) -> None:
        """`failure` contains one `%s` for the exception.

        `traceback`: whether to log where it was raised, for failures that may be defects of ours.
        """
        self._log, self._failure, self._recovery = log, failure, recovery
        self._traceback = traceback
        self.ongoing = False

    def record_failure(self, error: Exception) -> None:
        if not self.ongoing:
            self._log.warning(
                self._failure, repr(error), exc_info=error if self._traceback else None
            )
        self.ongoing = True

    def record_success(self) -> None:
        if self.ongoing:
            self._log.warning(self._recovery)
        self.ongoing = False
