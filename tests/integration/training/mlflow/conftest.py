"""Requests as an MLflow client sends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from training.accounts.tokens import create_token

Json = dict[str, Any]


class MlflowClient:
    """Sends the requests of one user's token."""

    def __init__(self, user: User, scopes: tuple[str, ...] = ("read", "report", "train")) -> None:
        token = create_token(user, scopes=scopes)[1]
        self.client = Client(headers={"Authorization": f"Bearer {token}"})

    def post(self, path: str, body: Json, status: int = 200) -> Json:
        answer = self.client.post(f"/api/2.0/mlflow/{path}", body, "application/json")
        assert answer.status_code == status, answer.content
        return dict(answer.json())

    def get(self, path: str, query: Json, status: int = 200) -> Json:
        answer = self.client.get(f"/api/2.0/mlflow/{path}", query)
        assert answer.status_code == status, answer.content
        return dict(answer.json())

    def create_run(self, name: str = "first", **more: Any) -> str:
        run = self.post("runs/create", {"run_name": name, "user_id": "ada", **more})["run"]
        return str(run["info"]["run_id"])

    def run(self, run_id: str) -> Json:
        return dict(self.get("runs/get", {"run_id": run_id})["run"])


@pytest.fixture
def mlflow(ada: User) -> MlflowClient:
    return MlflowClient(ada)


@pytest.fixture
def mlflow_of() -> Callable[..., MlflowClient]:
    return MlflowClient
