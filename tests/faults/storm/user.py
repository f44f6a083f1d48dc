"""A user who submits, controls and renames jobs and sweeps while faults happen."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import httpx

from tests.stack import SMALL, Stack

# The same job of each program again and again, so that one undisturbed run is the reference of all.
JOBS: dict[str, dict[str, Any]] = {
    "localizer": {**SMALL, "epochs": 40, "patience": 40, "seed": 11},
    "shapes": {"program": "shapes", "parameters": {"epochs": 20, "samples": 400}},
}
TRIALS, TRIAL_EPOCHS = 2, 15
FINAL = {"completed", "cancelled"}
# Longer than any fault: a request that is sent again must not be overtaken by the first one.
REQUEST_SECONDS, REPEAT_SECONDS = 20, 90
UNAVAILABLE = {503, 507}  # with a message that says that it passes


class User:
    """Repeats each request until it has an answer, at the other web process after a failure."""

    def __init__(
        self,
        webs: Sequence[Stack],
        seed: int,
        at_once: int,
        on_submit: Callable[[str], object] = lambda _: None,
    ) -> None:
        """`at_once`: how many unfinished jobs there are at most before the user adds others."""
        self._webs, self._at_once, self._on_submit = webs, at_once, on_submit
        self._rng = random.Random(f"{seed} user")
        self._web = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._act_until_stopped, name="user")
        self.programs: dict[str, str] = {}  # by the job's ID
        self.notes: dict[str, str] = {}  # the last ones
        self.sweeps: list[str] = []
        self.errors: list[str] = []
        self.requests = self.repeated = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, program: str) -> str:
        body = JOBS[program]
        if program == "localizer":
            body = {**body, "dataset_id": self._webs[0].dataset}
        return self._created("/jobs", program, body)

    def start_sweep(self) -> None:
        body = {
            "name": "Storm", "dataset_id": self._webs[0].dataset, "trials": TRIALS,
            "max_parallel": 1, "early_stopping": {"rule": "none"},
            "config": {**SMALL, "epochs": TRIAL_EPOCHS, "patience": TRIAL_EPOCHS},
            "space": {"learning_rate": {"min": 1e-3, "max": 1e-2, "log": True}},
        }  # fmt: skip
        self.sweeps.append(str(self._create("/sweeps", body)["id"]))

    def unfinished(self) -> list[dict[str, Any]]:
        """All jobs that may go on, those of sweeps and the reported one included."""
        return self.list_all("/jobs", status=["queued", "running", "paused", "failed"])

    def list_all(self, path: str, **filters: list[str]) -> list[dict[str, Any]]:
        page = self.request("GET", path, params={"page_size": "200", **filters}).json()
        found: list[dict[str, Any]] = page["results"]
        while page["next"]:
            # The address of the web process that answered, which may be down now.
            following = page["next"].partition("?")[2]
            page = self.request("GET", f"{path}?{following}").json()
            found += page["results"]
        return found

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The first answer that no fault explains."""
        self.requests += 1
        deadline = time.monotonic() + REPEAT_SECONDS
        while True:
            try:
                with self._webs[self._web].api() as api:
                    answer = api.request(method, path, timeout=REQUEST_SECONDS, **options)
                in_progress = answer.status_code == 409 and "still running" in answer.text
                if answer.status_code not in UNAVAILABLE and not in_progress:
                    break
                last = answer.text
            except httpx.TransportError as error:
                last = repr(error)
            if time.monotonic() > deadline:
                raise AssertionError(f"{method} {path}: no answer in {REPEAT_SECONDS} s: {last}")
            self.repeated += 1
            self._web = 1 - self._web
            time.sleep(0.2)
        if answer.status_code >= 500 or answer.status_code in {400, 401, 403, 404, 422}:
            self.errors.append(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer

    def resume_all(self) -> None:
        """Resume paused and failed jobs and sweeps, so that all of them end."""
        for sweep in self.list_all("/sweeps"):
            if sweep["status"] == "paused":
                self.request("POST", f"/sweeps/{sweep['id']}/resume")
        for job in self.unfinished():
            if job["status"] in {"paused", "failed"} and not job["reported"]:
                self.request("POST", f"/jobs/{job['id']}/resume")

    def _act_until_stopped(self) -> None:
        try:
            while not self._stop.wait(self._rng.uniform(0.1, 1)):
                self._act()
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")

    def _act(self) -> None:
        statuses = {job["id"]: job["status"] for job in self.unfinished()}
        unfinished = [job for job in self.programs if job in statuses]
        if len(unfinished) < self._at_once:
            self._add(unfinished)
        elif unfinished:
            job = self._rng.choice(unfinished)
            action = "resume" if statuses[job] in {"paused", "failed"} else self._rng.choice(
                ["pause", "pause", "cancel", "rename", "rename", "rename", "sweep"]
            )  # fmt: skip
            if action == "rename":
                self._rename(job)
            elif action == "sweep":
                self._control_sweep()
            else:
                self.request("POST", f"/jobs/{job}/{action}")

    def _add(self, unfinished: list[str]) -> None:
        how = self._rng.choice(["localizer", "shapes", "clone", "clone", "sweep"])
        if how == "clone" and unfinished:
            job = self._rng.choice(unfinished)
            self._created(f"/jobs/{job}/clone", self.programs[job], None)
        elif how == "sweep" and not self._has_running_sweep():
            self.start_sweep()
        else:
            self.submit("shapes" if how == "shapes" else "localizer")

    def _has_running_sweep(self) -> bool:
        return any(sweep["status"] in {"running", "paused"} for sweep in self.list_all("/sweeps"))

    def _rename(self, job: str) -> None:
        notes = f"changed {self._rng.random()}"
        if self.request("PATCH", f"/jobs/{job}", json={"notes": notes}).status_code == 200:
            self.notes[job] = notes

    def _control_sweep(self) -> None:
        if self.sweeps:
            sweep = self._rng.choice(self.sweeps)
            action = self._rng.choice(["pause", "resume", "resume"])
            self.request("POST", f"/sweeps/{sweep}/{action}")

    def _created(self, path: str, program: str, body: dict[str, Any] | None) -> str:
        job = str(self._create(path, body)["id"])
        self.programs[job] = program
        self._on_submit(job)
        return job

    def _create(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        key = {"Idempotency-Key": str(uuid4())}
        answer = self.request("POST", path, json=body, headers=key)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())
