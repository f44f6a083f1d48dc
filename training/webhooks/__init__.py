"""Webhooks: what happened is written to an outbox, signed, and sent until it is taken."""
