"""The hub of this process: what sockets and streams follow jobs through."""

from __future__ import annotations

from realtime.hubs import hubs_over
from training.journal import DatabaseJournal

hub = hubs_over(DatabaseJournal())
