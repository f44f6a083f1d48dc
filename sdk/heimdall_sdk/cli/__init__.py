"""The command `heimdall`."""
