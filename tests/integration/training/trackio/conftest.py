"""Requests as a Trackio client sends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from training.accounts.tokens import create_token

Json = dict[str, Any]


class TrackioClient:
    """Sends the requests of one user's token."""

    def __init__(self, user: User, scopes: tuple[str, ...] = ("read", "report")) -> None:
        token = create_token(user, scopes=scopes)[1]
        self.client = Client(headers={"X-Trackio-Write-Token": token})

    def call(self, name: str, status: int = 200, **arguments: Any) -> Any:
        body = {"args": [], "kwargs": arguments}
        answer = self.client.post(f"/api/{name}", body, "application/json")
        assert answer.status_code == status, answer.content
        return answer.json()["data"] if status == 200 else answer.json()

    def log(self, *entries: Json) -> None:
        logs = [entry(**values) for values in entries]
        assert self.call("bulk_log", logs=logs, hf_token=None) is None


def entry(**values: Any) -> Json:
    """One call of `trackio.log`."""
    return {
        "project": "radio", "run": "first", "run_id": "a" * 32, "metrics": {}, "step": 0,
        "config": None, "log_id": None, **values,
    }  # fmt: skip


@pytest.fixture
def trackio(ada: User) -> TrackioClient:
    return TrackioClient(ada)


@pytest.fixture
def trackio_of() -> Callable[..., TrackioClient]:
    return TrackioClient
