"""Causes the faults of a schedule in an installation."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psutil
import psycopg

from tests.broker import PrivateBroker
from tests.faults.database_outage import cut_connections, database_name, refused
from tests.faults.disk import full
from tests.faults.storm.schedule import Fault
from tests.polling import eventually
from tests.stack import POSTGRES, Stack

# Far more than a start needs: it waits for a database or a broker that another lane has ended.
WORKERS = 2
RESTART_SECONDS = 180
TRAINER_SECONDS = 10
Candidate = TypeVar("Candidate")


@dataclass(frozen=True)
class Caused:
    """A fault as it happened; the times are Unix times."""

    fault: Fault
    began: float
    ended: float


class FaultInjector:
    """One thread per lane; the effects of a fault are undone at its end."""

    def __init__(
        self, webs: Sequence[Stack], broker: PrivateBroker, reporter: subprocess.Popen[bytes]
    ) -> None:
        self._webs, self._broker, self._reporter = webs, broker, reporter
        self._stack = webs[0]
        self._started = 0.0
        self._stopped = threading.Event()
        self.left_out = 0
        self.caused: list[Caused] = []
        self.errors: list[str] = []
        self._causes: dict[str, Callable[[Fault], object]] = {
            "web process, kill -9": self._kill_web,
            "web process frozen": self._freeze_web,
            "worker, kill -9": self._kill_worker,
            "worker, SIGTERM": self._stop_worker,
            "worker frozen for less than a lease": self._freeze_worker,
            "worker frozen for more than a lease": self._freeze_worker,
            "supervisor, kill -9": self._kill_supervisor,
            "trainer, kill -9": self._kill_trainer,
            "trainer frozen": self._freeze_trainer,
            "reported run frozen": self._freeze_reporter,
            "broker, kill -9": self._kill_broker,
            "broker frozen": self._freeze_broker,
            "broker out of memory": self._fill_broker,
            "broker connections closed": lambda _: self._broker.cut_connections(),
            "database connections cut": self._cut_database,
            "database refused": self._refuse_database,
            "disk full": self._fill_disk,
        }

    def run(self, lanes: dict[str, list[Fault]], seconds: float) -> None:
        """Return when the last fault has ended, or one could not be caused or ended (`errors`).

        On a machine too slow for the plan, faults that would begin after `seconds` are left out.
        """
        self._started = time.time()
        threads = [
            threading.Thread(target=self._run_lane, args=[faults, seconds], name=lane)
            for lane, faults in lanes.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def log(self) -> list[str]:
        """What happened and when, in seconds since the start."""
        return [
            f"{one.began - self._started:6.1f} s to {one.ended - self._started:6.1f} s: "
            f"{one.fault.kind} (planned at {one.fault.at:.1f} s for {one.fault.seconds:.1f} s)"
            for one in sorted(self.caused, key=lambda one: one.began)
        ]

    def stop(self) -> None:
        """Start no further faults."""
        self._stopped.set()

    def _run_lane(self, faults: list[Fault], seconds: float) -> None:
        for number, fault in enumerate(faults):
            if self._stopped.wait(max(0, self._started + fault.at - time.time())):
                return
            if time.time() > self._started + seconds:
                self.left_out += len(faults) - number
                return
            began = time.time()
            try:
                caused = self._causes[fault.kind](fault) is not False
            except Exception as error:
                self.errors.append(f"{fault}: {type(error).__name__}: {error}")
                self._stopped.set()
                return
            if caused:
                self.caused.append(Caused(fault, began, time.time()))

    def _kill_web(self, fault: Fault) -> None:
        web = _choose(self._webs, fault)
        assert web.web is not None
        os.killpg(web.web.pid, signal.SIGKILL)
        web.web.wait()
        time.sleep(fault.seconds)
        _restart(web.start_web)

    def _freeze_web(self, fault: Fault) -> None:
        web = _choose(self._webs, fault)
        assert web.web is not None
        with _frozen([web.web.pid]):
            time.sleep(fault.seconds)

    def _workers(self) -> list[subprocess.Popen[bytes]]:
        running = self._stack.workers
        if len(running) < WORKERS:
            raise RuntimeError("a worker has ended without a fault that ends one; see its log")
        return running

    def _kill_worker(self, fault: Fault) -> None:
        worker = _choose(self._workers(), fault)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        time.sleep(fault.seconds)
        _restart(self._stack.start_worker)

    def _stop_worker(self, fault: Fault) -> None:
        worker = _choose(self._workers(), fault)
        worker.terminate()
        worker.wait(timeout=RESTART_SECONDS)
        time.sleep(fault.seconds)
        _restart(self._stack.start_worker)

    def _freeze_worker(self, fault: Fault) -> None:
        """The worker with its trainers, like a machine that is suspended."""
        worker = psutil.Process(_choose(self._workers(), fault).pid)
        with _frozen([worker.pid, *(child.pid for child in worker.children(recursive=True))]):
            time.sleep(fault.seconds)

    def _kill_supervisor(self, fault: Fault) -> bool:
        return self._kill(fault, lambda trainer: trainer.ppid())

    def _kill_trainer(self, fault: Fault) -> bool:
        return self._kill(fault, lambda trainer: trainer.pid)

    def _kill(self, fault: Fault, victim: Callable[[psutil.Process], int]) -> bool:
        trainer = self._wait_for_trainer(fault)
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if trainer is not None:
                os.kill(victim(trainer), signal.SIGKILL)
                return True
        return False

    def _freeze_trainer(self, fault: Fault) -> bool:
        trainer = self._wait_for_trainer(fault)
        if trainer is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            with _frozen([trainer.pid, *(one.pid for one in trainer.children(recursive=True))]):
                time.sleep(fault.seconds)
            return True
        return False

    def _freeze_reporter(self, fault: Fault) -> bool:
        if self._reporter.poll() is not None:
            return False
        with _frozen([self._reporter.pid]):
            time.sleep(fault.seconds)
        return True

    def _kill_broker(self, fault: Fault) -> None:
        self._broker.kill()
        time.sleep(fault.seconds)
        self._broker.start()

    def _freeze_broker(self, fault: Fault) -> None:
        self._broker.freeze()
        time.sleep(fault.seconds)
        self._broker.thaw()

    def _fill_broker(self, fault: Fault) -> None:
        self._broker.raise_memory_alarm()
        time.sleep(fault.seconds)
        self._broker.clear_memory_alarm()

    def _cut_database(self, fault: Fault) -> None:
        with _server() as server:
            cut_connections(server, database_name(self._stack))

    def _refuse_database(self, fault: Fault) -> None:
        with _server() as server, refused(server, database_name(self._stack)):
            time.sleep(fault.seconds)

    def _fill_disk(self, fault: Fault) -> None:
        with full(self._stack.folder / "jobs" / "filler"):
            time.sleep(fault.seconds)

    def _wait_for_trainer(self, fault: Fault) -> psutil.Process | None:
        """None if no job is running for a while, as during another fault."""
        try:
            return _choose(eventually(self._trainers, TRAINER_SECONDS), fault)
        except AssertionError:
            return None

    def _trainers(self) -> list[psutil.Process]:
        """The children of the workers' pool processes, oldest first."""
        found: list[psutil.Process] = []
        for worker in self._stack.workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                for supervisor in psutil.Process(worker.pid).children():
                    found += supervisor.children()
        return found


def _server() -> psycopg.Connection[Any]:
    return psycopg.connect(f"{POSTGRES}/postgres", autocommit=True)


def _choose(candidates: Sequence[Candidate], fault: Fault) -> Candidate:
    return candidates[int(fault.choice * len(candidates))]


def _restart(start: Callable[[], object]) -> None:
    """Start a process like systemd: retry if the database or the broker is unavailable."""

    def started() -> bool:
        try:
            start()
        except AssertionError:
            return False
        return True

    eventually(started, RESTART_SECONDS, "the process does not start", interval=0.5)


@contextmanager
def _frozen(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, which: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, which)
