"""Programs: what can be trained, and the messages between a training and its supervisor."""
