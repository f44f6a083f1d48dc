"""Counts the queries of GET requests inside one process: python -m benchmarks.query_counts < JSON.

Reads a list of `[username, token, path]` from stdin and prints the count of each as JSON. The API
gets the token, and a page is asked for in a session of the user.
"""

from __future__ import annotations

import json
import sys

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402


def count_queries(username: str, token: str, path: str) -> int:
    client = Client(headers={"host": "127.0.0.1"})
    headers = {}
    if path.startswith("/api/"):
        headers = {"Authorization": f"Bearer {token}"}
    else:
        client.force_login(User.objects.get(username=username))
    client.get(path, headers=headers)  # fills the caches of this process
    with CaptureQueriesContext(connection) as queries:
        response = client.get(path, headers=headers)
    assert response.status_code == 200, (path, response.status_code)
    return len(queries)


if __name__ == "__main__":
    print(json.dumps([count_queries(*request) for request in json.load(sys.stdin)]))
