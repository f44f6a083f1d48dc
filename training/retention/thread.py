"""Applies the retention policy in a background thread of a worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import timedelta

from realtime.outage_log import OutageLog
from training.periodic_thread import PeriodicThread
from training.retention import run
from training.retention.policy import Policy
from training.retention.removed import Removed

INTERVAL = timedelta(hours=6)
# A pass works for this long and rests four times as long, so that it never takes a whole core.
WORK_SECONDS, REST_SECONDS, IDLE_SECONDS = 0.25, 1.0, 60.0
RENEW_SECONDS = 60.0

log = logging.getLogger(__name__)


class RetentionThread(PeriodicThread):
    """One run in six hours over all workers, in short passes."""

    def __init__(self) -> None:
        outage = OutageLog(
            log,
            failure="Retention failed; retrying: %s",
            recovery="Retention works again.",
            traceback=True,
        )
        super().__init__("retention", outage)
        self._steps: Iterator[Removed] | None = None
        self._renew_at = 0.0

    def interval(self) -> float:
        return REST_SECONDS if self._steps else IDLE_SECONDS

    def run_once(self) -> None:
        if self._steps is None:
            for _ in run.finish_removals():
                pass
            if not run.claim(INTERVAL):
                return
            self._steps = run.steps(Policy.from_settings())
            self._renew_at = time.monotonic() + RENEW_SECONDS
        try:
            self._work(self._steps)
        except BaseException:
            # A generator that raised is at its end: the next run starts from the beginning.
            self._steps = None
            raise

    def _work(self, steps: Iterator[Removed]) -> None:
        until = time.monotonic() + WORK_SECONDS
        while time.monotonic() < until and not self._stop_requested.is_set():
            if next(steps, None) is None:
                self._steps = None
                run.complete()
                return
        if time.monotonic() >= self._renew_at:
            self._renew_at = time.monotonic() + RENEW_SECONDS
            run.renew_claim()
