"""Retention: how long each kind of data is kept, and the deletion of expired data."""
