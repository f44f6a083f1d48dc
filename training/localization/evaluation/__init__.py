"""Evaluation on the test split beside baselines and bounds."""
