"""Runs a management command; installation errors are one sentence and exit status 1."""

from __future__ import annotations

import sys


def run(arguments: list[str]) -> None:
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError, connection

    from heimdall.database import describe_failure

    try:
        execute_from_command_line(arguments)
    except DatabaseError as error:
        sentence = describe_failure(error, connection.settings_dict)
        if not sentence or "--traceback" in arguments:
            raise
        sys.exit(sentence)
