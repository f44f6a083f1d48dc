"""Users, teams and permissions, API tokens, rate limits, audit log, idempotency keys."""
