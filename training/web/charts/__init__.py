"""Pictures that the server draws: they are there before any script, and without one."""
