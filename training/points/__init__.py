"""Points of a job: values of named series by step, at up to ten million a job."""
