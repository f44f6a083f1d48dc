"""The life of a job: its state changes, attempts, results, queue and what pages show of it."""
