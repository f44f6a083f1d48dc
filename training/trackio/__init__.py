"""The part of a Trackio server that its client needs to log: projects, runs and their metrics."""
