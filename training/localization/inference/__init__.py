"""Saved models: loading, prediction, export."""
