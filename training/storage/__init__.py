"""The data folder: what uses the disk, and the removal of files of deleted rows."""
