"""What this process counts about sockets and events, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SOCKETS = Gauge("heimdall_sockets", "Open sockets and event streams of this process.")
REFUSED = Counter("heimdall_sockets_refused", "Sockets that were refused or cut.", ["code"])
LATENCY = Histogram(
    "heimdall_event_latency_seconds",
    "From the moment an event happened until this process heard of it.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
