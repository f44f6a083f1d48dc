"""The client of the inference process."""
