"""Import of measured data from CSV tables."""
