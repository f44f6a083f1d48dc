"""Datasets: import, generation, sharing, deletion."""
