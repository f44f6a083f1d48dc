"""Checkpoints: durable files, written by a process of their own."""
