"""Datasets as arrays, and their splits."""
