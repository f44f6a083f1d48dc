"""Sends a spool to Heimdall: in order, each batch once, however often it has to be tried."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from heimdall_sdk.api_client import ApiClient, RefusedError, UnavailableError, quoted
from heimdall_sdk.config import fit_config
from heimdall_sdk.errors import notify, notify_once
from heimdall_sdk.spool import SendState, Spool

BATCH_POINTS = 5_000
BATCH_BYTES = 4 << 20
OUTPUT_BYTES = 256 << 10
# The first points after a silence are sent at once, then at most ten batches a second.
BATCH_SECONDS = 0.1
HEARTBEAT_SECONDS = 5.0
MAX_ERROR_LENGTH = 10_000
FIRST_DELAY_SECONDS = 0.25
MAX_DELAY_SECONDS = 15.0


@dataclass
class Batch:
    """Consecutive points, or one other record."""

    end: int
    points: list[bytes]
    record: dict[str, Any] | None = None


class GoneError(Exception):
    """The run no longer exists at Heimdall, or Heimdall rejects reports for it."""


class Sender:
    """`step` sends pending records; `run` repeats it, with delays, until all are sent."""

    def __init__(self, spool: Spool, client: ApiClient, state: SendState) -> None:
        self._spool = spool
        self._client = client
        self._state = state
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._next_heartbeat = 0.0
        self.stop_requested = ""
        self.sent_points = 0
        self.problem = ""  # why the last attempt failed
        self.is_done = threading.Event()

    @property
    def job_id(self) -> str:
        return self._state.job_id

    def notify(self) -> None:
        """Wake the sender: there are new records."""
        self._wake.set()

    def hurry(self) -> None:
        """The process ends, or only sends: do not wait between batches."""
        self._hurry.set()
        self._wake.set()

    def run(self) -> None:
        """Send until the run is finished; retry failures without limit, with growing delays."""
        delay = 0.0
        try:
            while not self._state.finished:
                delay = self._try_step(delay)
        except GoneError as error:
            notify(f"{error} Nothing more is reported; training continues.")
            self.problem = str(error)
        except Exception as error:
            notify(f"the sender failed: {type(error).__name__}: {error}")
            self.problem = str(error)
        finally:
            self._client.close()
            self.is_done.set()

    def _try_step(self, delay: float) -> float:
        """Return the delay after the next failure; 0 after a success."""
        try:
            self.step()
        except UnavailableError as error:
            delay = min(max(2 * delay, FIRST_DELAY_SECONDS), MAX_DELAY_SECONDS)
            self._report_problem(error)
            self._pause(max(delay, error.retry_after))
            return delay
        self.problem = ""
        self._hurry.wait(BATCH_SECONDS)
        self._wait(self._next_heartbeat - time.monotonic())
        return 0.0

    def step(self) -> None:
        """Send what is in the spool; raise UnavailableError to be called again.

        A batch that is not full ends it: more is collected before the next.
        """
        if not self._state.job_id:
            self._register()
        while (batch := self._next_batch()) is not None:
            self._state.end = batch.end
            self._spool.save_state(self._state)
            self._send_output()
            self._send(batch)
            self._state.start = batch.end
            self._state.number += bool(batch.points)
            self._spool.save_state(self._state)
            self._spool.delete_sent(batch.end)
            if self._state.finished:
                return
            if self._heartbeat_is_due():
                self._send_heartbeat()
            if 0 < len(batch.points) < BATCH_POINTS and not self._hurry.is_set():
                break
        self._send_output()
        if self._heartbeat_is_due():
            self._send_heartbeat()

    def _wait(self, seconds: float) -> None:
        self._wake.wait(max(seconds, 0.0))
        self._wake.clear()

    def _pause(self, seconds: float) -> None:
        """Wait after a failure; new points do not shorten it, the end of the process does once."""
        if self._hurry.is_set():
            time.sleep(seconds)
        else:
            self._hurry.wait(seconds)

    def _report_problem(self, error: UnavailableError) -> None:
        self.problem = str(error)
        where = f"{self._client.url} cannot be reached ({error})"
        if error.status in (401, 403):
            where = f"{self._client.url} does not accept HEIMDALL_TOKEN ({error})"
        notify_once(f"unavailable {error.status}", f"{where}; what is reported waits on disk.")

    def _register(self) -> None:
        registration = {
            name: value
            for name, value in self._spool.registration.items()
            if value not in (None, "", [], {}) and not name.startswith("_")
        }
        if isinstance(config := registration.get("config"), dict):
            registration["config"], problem = fit_config(config)
            if problem:
                notify_once(problem, problem)
        try:
            answer = self._post_registration(registration)
        except RefusedError as error:
            raise GoneError(f"{self._client.url} does not register the run ({error}).") from error
        if not answer.get("id"):
            raise UnavailableError("The answer to the registration has no id")
        self._state.job_id = str(answer["id"])
        self._spool.save_state(self._state)
        self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS

    def _post_registration(self, registration: dict[str, Any]) -> dict[str, Any]:
        """Without its configuration, if that is invalid: the run must not be lost for it."""
        key = self._spool.client_id
        try:
            return self._client.post("/reports", registration, key=key)
        except RefusedError as error:
            if error.status != 400 or "config" not in registration:
                raise
            without = {name: value for name, value in registration.items() if name != "config"}
            # A key of its own: the first one may belong to the other request.
            answer = self._client.post("/reports", without, key=f"{key}-without-config")
            notify_once("config", f"the run is reported without its config ({error}).")
            return answer

    def _next_batch(self) -> Batch | None:
        """The batch that is being sent, unchanged; else the next one."""
        limit = self._state.end if self._state.end > self._state.start else None
        batch: Batch | None = None
        size = 0
        for line, end in self._spool.read(self._state.start, BATCH_BYTES):
            if limit is not None and end > limit:
                break
            is_point = line.startswith(b'{"step"')
            if is_point and not line.endswith(b"}}"):
                is_point = False  # an incomplete line of a killed process
            if not is_point and batch is not None and batch.points:
                break
            if not is_point:
                batch = Batch(end, [], _record(line))
                if batch.record is not None:
                    break
                continue
            size += len(line)
            if batch is None:
                batch = Batch(end, [])
            elif batch.points and (size > BATCH_BYTES or len(batch.points) == BATCH_POINTS):
                break
            batch.points.append(line)
            batch.end = end
        return batch

    def _send(self, batch: Batch) -> None:
        if batch.points:
            self._send_points(batch)
        elif batch.record is not None and batch.record.get("record") == "finish":
            self._send_finish(batch.record)
        elif batch.record is not None and batch.record.get("record") == "artifact":
            self._send_artifact(batch.record)

    def _send_points(self, batch: Batch) -> None:
        name = f"{self._spool.client_id}-{self._state.number}"
        body = b'{"batch":"%s","points":[%s]}' % (name.encode(), b",".join(batch.points))
        try:
            answer = self._client.post(f"/reports/{self.job_id}/points", body)
        except RefusedError as error:
            self._raise_if_gone(error)
            notify_once("batch", f"{len(batch.points)} points were refused ({error}).")
            return
        self.sent_points += len(batch.points)
        self._note_stop(answer)
        for rejected in (answer.get("rejected") or [])[:1]:
            notify_once("rejected", f"a point was rejected: {rejected.get('reason', rejected)}")

    def _send_output(self) -> None:
        while content := self._spool.read_output(self._state.output, OUTPUT_BYTES):
            path = f"/reports/{self.job_id}/logs?after={self._state.output}"
            try:
                self._client.post_text(path, content)
            except RefusedError as error:
                self._raise_if_gone(error, keep_conflict=True)
                notify_once("output", f"the script's output was refused ({error}).")
            self._state.output += len(content)
            self._spool.save_state(self._state)

    def _send_artifact(self, record: dict[str, Any]) -> None:
        file = self._spool.folder / record["file"]
        if not file.exists():
            return
        try:
            self._client.put_file(f"/jobs/{self.job_id}/artifacts/{quoted(record['name'])}", file)
        except RefusedError as error:
            notify(f"the artifact {record['name']} was refused ({error}).")
        file.unlink(missing_ok=True)

    def _send_finish(self, record: dict[str, Any]) -> None:
        body = {"status": record["status"]}
        if record.get("error_message"):
            body["error_message"] = record["error_message"][:MAX_ERROR_LENGTH]
        try:
            self._client.post(f"/reports/{self.job_id}/finish", body)
        except RefusedError as error:
            if error.status != 409:  # it has ended already
                self._raise_if_gone(error)
                notify(f"the end of the run was refused ({error}).")
        self._state.finished = True

    def _heartbeat_is_due(self) -> bool:
        return time.monotonic() >= self._next_heartbeat

    def _send_heartbeat(self) -> None:
        self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
        try:
            self._note_stop(self._client.post(f"/reports/{self.job_id}/heartbeat", {}))
        except RefusedError as error:
            self._raise_if_gone(error)

    def _note_stop(self, answer: dict[str, Any]) -> None:
        requested = answer.get("stop_requested")
        if isinstance(requested, str):
            self.stop_requested = requested

    def _raise_if_gone(self, error: RefusedError, *, keep_conflict: bool = False) -> None:
        if error.status in (404, 410):
            raise GoneError(f"Heimdall no longer has the run {self.job_id}.") from error
        if error.status == 409 and not keep_conflict:
            # It was ended there: what is reported now has no job to belong to.
            self.stop_requested = self.stop_requested or "cancel"


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "record" in value else None
