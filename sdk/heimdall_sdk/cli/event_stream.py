"""Server-sent events; an interrupted stream is resumed where it ended."""

from __future__ import annotations

import http.client
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from heimdall_sdk.api_client import RefusedError, UnavailableError
from heimdall_sdk.cli.errors import CommandError
from heimdall_sdk.cli.server import Server
from heimdall_sdk.errors import notify

MAX_DELAY_SECONDS = 10.0


@dataclass(frozen=True)
class ServerSentEvent:
    event: str
    data: str
    id: str = ""


def parse(lines: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation"""
    event, data, number = "", [], ""
    for line in lines:
        field, _, value = line.decode(errors="replace").rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            number = value
        elif not field and not value:
            if data or event:
                yield ServerSentEvent(event, "\n".join(data), number)
            event, data, number = "", [], ""


def follow(server: Server, path: str, last_id: int) -> Generator[ServerSentEvent, None, None]:
    """Yield the events after `last_id`, without pulses, until the caller stops."""
    delay, interrupted = 0.0, False
    newest = str(last_id)
    while True:
        reason = "it closed the stream"
        try:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": newest}
            with server.client.open(path, headers) as response:
                for found in parse(response):
                    if interrupted:
                        notify("connected again.")
                    delay, interrupted = 0.0, False
                    newest = found.id or newest
                    if found.event != "pulse":
                        yield found
        except (OSError, http.client.HTTPException) as error:
            reason = f"{type(error).__name__}: {error}"
        except RefusedError as error:
            raise CommandError(server.describe(error)) from error
        except UnavailableError as error:
            if error.status in (401, 403):
                raise CommandError(server.describe(error)) from error
            reason, delay = str(error), max(delay, error.retry_after)
        if not interrupted:
            notify(f"the connection to {server.client.url} was lost ({reason}); reconnecting.")
        interrupted = True
        delay = min(max(2 * delay, 0.5), MAX_DELAY_SECONDS)
        time.sleep(delay)
