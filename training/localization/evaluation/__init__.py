"""Evaluation on the test split, with baselines and bounds."""
