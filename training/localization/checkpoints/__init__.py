"""Checkpoints: durable files, written by a separate process."""
