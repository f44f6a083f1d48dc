"""Hyper-parameter search: sweeps, their trials, samplers and pruners."""
