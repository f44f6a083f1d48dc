"""Delivers job events from the database to WebSocket and SSE clients; no models of training."""
