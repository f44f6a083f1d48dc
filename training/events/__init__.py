"""The rows behind the events, and the publisher and hub of this process."""
