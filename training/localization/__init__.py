"""Locate radio transmitters with NumPy and PyTorch; does not import Django."""
