"""Daphne with compression, back-pressure, request limits and a clean shutdown."""
