"""A thread that repeats a task until it is stopped."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from django.db import close_old_connections, connection

from realtime.outage_log import OutageLog


class PeriodicThread(ABC):
    """Calls `run_once` repeatedly until it is stopped; a failed run is logged."""

    def __init__(self, name: str, outage: OutageLog) -> None:
        self._outage = outage
        self._stop_requested = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop after the present pass; wait for it for at most `timeout` seconds."""
        self._stop_requested.set()
        self._thread.join(timeout)

    @abstractmethod
    def run_once(self) -> None: ...

    @abstractmethod
    def interval(self) -> float:
        """Seconds until the next pass."""

    def at_exit(self) -> None:
        """Called in the thread after the last pass."""
        connection.close()

    def _run(self) -> None:
        while True:
            try:
                close_old_connections()
                self.run_once()
            except Exception as error:
                # Usually the database is unavailable.
                self._outage.record_failure(error)
            else:
                self._outage.record_success()
            if self._stop_requested.wait(self.interval()):
                break
        self.at_exit()
