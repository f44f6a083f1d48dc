"""`heimdall sync`: sends reports that runs stored while offline."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from heimdall_sdk.cli import formatting
from heimdall_sdk.cli.credentials import load_credentials
from heimdall_sdk.spool import spool_directory
from heimdall_sdk.sync import SyncedRun, sync_spool
from heimdall_sdk.text import count_of


def sync(arguments: argparse.Namespace) -> int:
    credentials = load_credentials()
    directory = arguments.directory or spool_directory()

    def report(run: SyncedRun) -> None:
        if arguments.json:
            formatting.print_json(asdict(run))
            return
        name = run.name or run.client_id[:8]
        if run.error:
            print(f"{name}: {run.error} The rest stays in {directory}.", flush=True)
        else:
            print(
                f"{name}: {count_of(run.points, 'point')} sent; job {run.job_id[:8]}.", flush=True
            )

    found = sync_spool(credentials.url, credentials.token, directory, report)
    if not found and not arguments.json:
        print(f"Nothing to send in {directory}.")
    return int(any(run.error for run in found))
