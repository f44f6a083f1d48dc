"""The lifecycle of a job: state changes, attempts, results, queue, and data for pages."""
