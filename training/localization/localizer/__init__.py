"""The model: features, networks, refinement with arrival times."""
