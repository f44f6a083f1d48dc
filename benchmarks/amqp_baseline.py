"""Raw AMQP consumer, the latency baseline: python -m benchmarks.amqp_baseline URL MESSAGES.

Prints `open` when its queue is bound, and the latency of each message in seconds at the end.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import kombu

from benchmarks.websocket_load import STAMP, TIMEOUT_SECONDS, latency
from realtime.transport import EXCHANGE


def main(url: str, messages: int) -> None:
    received: list[tuple[float, bytes]] = []

    def on_message(message: Any) -> None:
        now, body = time.time(), message.body
        body = body if isinstance(body, bytes) else body.encode()
        at = body.find(STAMP) + len(STAMP)
        received.append((now, body[at : at + 27]))

    with kombu.Connection(url) as connection:
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE, "topic", durable=False, auto_delete=False)
        queue = channel.queue_declare("", exclusive=True).queue
        channel.queue_bind(queue, EXCHANGE, "#")
        channel.basic_consume(queue, no_ack=True, callback=on_message)
        print("open", flush=True)
        while len(received) < messages:
            connection.drain_events(timeout=TIMEOUT_SECONDS)
    print(json.dumps({"latencies": [latency(*message) for message in received]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
