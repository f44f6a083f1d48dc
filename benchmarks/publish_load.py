"""Publish events of many jobs at a steady rate, encoded as by a worker, without the database.

python -m benchmarks.publish_load URL EVENTS RATE JOB...: EVENTS per job, RATE events per second in
total (0: as fast as possible).
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from uuid import UUID

import kombu

from benchmarks.curves import metrics
from realtime.events import encode, routing_key
from realtime.transport import EXCHANGE

EVENT = "training:progress"
FIRST_SEQ = 2  # event 1 is `queued`


def encode_event(job_id: str, seq: int, count: int) -> bytes:
    data = {"job_id": job_id, "epoch": seq, "total_epochs": count, "metrics": metrics(seq, count),
            "is_best": False}  # fmt: skip
    return encode(EVENT, seq, datetime.now(UTC), data)


def main(url: str, events: int, rate: float, jobs: list[str]) -> None:
    with kombu.Connection(url) as connection:
        exchange = kombu.Exchange(EXCHANGE, type="topic", durable=False)
        producer = kombu.Producer(connection.channel(), exchange=exchange)
        started, sent = time.monotonic(), 0
        for seq in range(FIRST_SEQ, FIRST_SEQ + events):
            for job_id in jobs:
                if rate:
                    time.sleep(max(0.0, started + sent / rate - time.monotonic()))
                producer.publish(
                    encode_event(job_id, seq, events), routing_key=routing_key(EVENT, UUID(job_id)),
                    content_type="application/json", content_encoding="utf-8",
                    delivery_mode="transient",
                )  # fmt: skip
                sent += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
