"""Limits on JSON values in a body: an empty list has three bytes, but 72 in memory."""

from __future__ import annotations

import gzip

import pytest
from django.contrib.auth.models import User
from django.test import Client

from training.accounts.tokens import create_token


@pytest.mark.parametrize(
    ("path", "field", "lists", "limit"),
    [
        ("/api/v1/training/reports", "config", 600_000, "1,000,000"),
        ("/api/2.0/mlflow/runs/log-batch", "metrics", 600_000, "1,000,000"),
        ("/api/bulk_log", "logs", 2_100_000, "4,000,000"),
    ],
)
def test_small_body_of_many_values_is_refused_before_it_is_parsed(
    ada: User, path: str, field: str, lists: int, limit: str
) -> None:
    _, token = create_token(ada)
    body = gzip.compress(b'{"%s": [%s[]]}' % (field.encode(), b"[]," * lists))
    assert len(body) < 20_000
    answer = Client().post(
        path, body, "application/json",
        headers={"Authorization": f"Bearer {token}", "Content-Encoding": "gzip"},
    )  # fmt: skip
    assert answer.status_code == 413
    assert f"more than {limit} JSON values" in answer.content.decode()
