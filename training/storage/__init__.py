"""The data folder: disk usage, and removal of the files of deleted rows."""
