"""Runs that other tools have recorded, as reported jobs."""
