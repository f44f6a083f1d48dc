"""Localisation of transmitters with NumPy and PyTorch; knows nothing of Django."""
