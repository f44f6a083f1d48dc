"""Prometheus metrics of connections and events."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

OPEN_CONNECTIONS = Gauge("heimdall_sockets", "Open WebSockets and event streams of this process.")
REFUSED_CONNECTIONS = Counter(
    "heimdall_sockets_refused", "WebSockets that were refused or closed by the server.", ["code"]
)
EVENT_LATENCY = Histogram(
    "heimdall_event_latency_seconds",
    "Time from an event until this process received it.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
IGNORED_MESSAGES = Counter(
    "heimdall_messages_ignored", "Messages from the broker that are not events of a job."
)
