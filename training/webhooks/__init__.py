"""Webhooks: events are written to an outbox, signed, and sent until the receiver accepts them."""
