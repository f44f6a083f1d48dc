"""Clients that use only Heimdall's exchange and REST API."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import Any

import kombu

from tests.stack import Stack


class ExchangeConsumer:
    """An AMQP consumer bound with `#`, which reconnects."""

    def __init__(self, url: str) -> None:
        self.messages: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self._url = url
        self._closed, self._bound = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._bound.wait(20)

    def of(self, job_id: str) -> list[dict[str, Any]]:
        return [body for key, body, _ in list(self.messages) if key.endswith(job_id)]

    def close(self) -> None:
        self._closed.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen()
            except OSError:
                time.sleep(0.2)

    def _listen(self) -> None:
        exchange = kombu.Exchange("heimdall.events", type="topic", durable=False)
        queue = kombu.Queue("", exchange=exchange, routing_key="#", exclusive=True)
        with kombu.Connection(self._url, connect_timeout=2) as connection:
            consumer = kombu.Consumer(
                connection.channel(), [queue], on_message=self._on_message, no_ack=True
            )
            consumer.consume()
            self._bound.set()
            while not self._closed.is_set():
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=0.2)

    def _on_message(self, message: Any) -> None:
        body = json.loads(message.body, parse_constant=_reject_constant)
        self.messages.append((message.delivery_info["routing_key"], body, message.properties))


class SeqFollower:
    """Collects one job's seqs from the exchange, and from the API where there is a gap."""

    def __init__(self, stack: Stack, listener: ExchangeConsumer, job_id: str) -> None:
        self._stack, self._listener, self._job_id = stack, listener, job_id
        self._read = 0
        self.seqs: list[int] = []

    def update(self) -> int:
        """Process new messages and return the latest seq."""
        messages = [event for event in self._listener.of(self._job_id) if "seq" in event]
        for event in messages[self._read :]:
            last = self.seqs[-1] if self.seqs else 0
            if event["seq"] > last + 1:
                self._fetch_after(last)
            elif event["seq"] == last + 1:
                self.seqs.append(event["seq"])
        self._read = len(messages)
        return self.seqs[-1] if self.seqs else 0

    def _fetch_after(self, after: int) -> None:
        with self._stack.api() as api:
            page = api.get(f"/jobs/{self._job_id}/events?after={after}").json()
        self.seqs += [row["seq"] for row in page["results"]]


def _reject_constant(name: str) -> None:
    raise AssertionError(f"{name} is not valid JSON")
