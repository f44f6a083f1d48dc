"""Hyperparameter search: sweeps, their trials, samplers and pruners."""
