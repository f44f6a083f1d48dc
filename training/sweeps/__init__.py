"""Sweeps: trainings that differ in a few parameters, started one after another, the best found."""
