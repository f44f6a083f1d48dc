"""Carries a job's events from the rows to whoever watches; knows no model of training."""
