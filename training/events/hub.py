"""The hub of this process: what sockets and streams follow jobs through."""

from __future__ import annotations

from realtime.hub import hub_per_event_loop
from training.events.store import DatabaseEventStore

get_hub = hub_per_event_loop(DatabaseEventStore())
