"""Raw AMQP consumer, the latency baseline: python -m benchmarks.amqp_baseline URL MESSAGES.

Says `open` once bound, and ends after so many messages with the seconds each took.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import kombu

from benchmarks.websocket_load import MOST_SECONDS, STAMP, latency
from realtime.transport import EXCHANGE


def main(url: str, messages: int) -> None:
    came: list[tuple[float, bytes]] = []

    def take(message: Any) -> None:
        now, body = time.time(), message.body
        body = body if isinstance(body, bytes) else body.encode()
        at = body.find(STAMP) + len(STAMP)
        came.append((now, body[at : at + 27]))

    with kombu.Connection(url) as line:
        channel = line.channel()
        channel.exchange_declare(EXCHANGE, "topic", durable=False, auto_delete=False)
        queue = channel.queue_declare("", exclusive=True).queue
        channel.queue_bind(queue, EXCHANGE, "#")
        channel.basic_consume(queue, no_ack=True, callback=take)
        print("open", flush=True)
        while len(came) < messages:
            line.drain_events(timeout=MOST_SECONDS)
    print(json.dumps({"latencies": [latency(*one) for one in came]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
