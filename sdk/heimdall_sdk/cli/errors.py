"""Errors of the command line: one sentence each."""

from __future__ import annotations


class CommandError(Exception):
    """The command failed: exit status 1."""


class UsageError(Exception):
    """The command line is wrong: exit status 2."""
