"""The event hub of this process, which feeds WebSocket and SSE connections."""

from __future__ import annotations

from realtime.hub import hub_per_event_loop
from training.events.store import DatabaseEventStore

get_hub = hub_per_event_loop(DatabaseEventStore())
