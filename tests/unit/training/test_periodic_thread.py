from __future__ import annotations

import logging
import threading

import pytest

from realtime.outage_log import OutageLog
from training.periodic_thread import PeriodicThread

FAILING_PASSES = 3


class Counter(PeriodicThread):
    """Fails in its first passes, then succeeds."""

    def __init__(self) -> None:
        log = logging.getLogger("test")
        super().__init__("counter", OutageLog(log, failure="down: %s", recovery="up"))
        self.passes = 0
        self.recovered = threading.Event()

    def interval(self) -> float:
        return 0.001

    def run_once(self) -> None:
        self.passes += 1
        if self.passes <= FAILING_PASSES:
            raise OSError(self.passes)
        if self.passes > FAILING_PASSES + 1:
            self.recovered.set()


def test_thread_survives_failing_runs_and_logs_the_outage_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counter = Counter()
    counter.start()
    assert counter.recovered.wait(10)
    counter.stop()
    assert caplog.messages == ["down: OSError(1)", "up"]
