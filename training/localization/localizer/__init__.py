"""The model: encoder, networks, refinement by arrival times."""
