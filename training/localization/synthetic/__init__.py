"""Synthetic datasets from a propagation model."""
