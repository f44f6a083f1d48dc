"""The public schema is cached, so it is not generated for each request."""

from __future__ import annotations

import json

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

URL = "/api/v1/schema"


def test_schema_is_generated_once_for_all_users(
    db: None, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    generated = []
    generate = SchemaGenerator.get_schema

    def count(self: SchemaGenerator, *args: object, **options: object) -> object:
        generated.append(1)
        return generate(self, *args, **options)

    monkeypatch.setattr(SchemaGenerator, "get_schema", count)
    first = client.get(URL, headers={"Accept": "application/json"})
    assert json.loads(first.content)["openapi"] == "3.1.0"
    for number in range(5):
        again = client.get(
            f"{URL}?x={number}&version={number}", headers={"Accept": "application/json"}
        )
        assert again.content == first.content
    same = client.get(URL, headers={"Accept": "application/json", "If-None-Match": first["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert len(generated) == 1


def test_schema_is_available_in_each_media_type(db: None, client: Client) -> None:
    assert client.get(URL).content.startswith(b"openapi: 3.1.0")
    shown = client.get(URL, headers={"Accept": "application/json"})
    assert shown["Content-Type"].startswith("application/json")
    assert shown["Content-Disposition"].endswith('.json"')
    assert client.get(URL, headers={"Accept": "application/vnd.oai.openapi"}).status_code == 200


def test_each_operation_has_its_own_description(db: None, client: Client) -> None:
    schema = json.loads(client.get(URL, headers={"Accept": "application/json"}).content)
    described = [
        (operation["summary"], operation.get("description", ""))
        for path in schema["paths"].values()
        for operation in path.values()
    ]
    texts = [text for _, text in described if text]
    assert sorted(texts) == sorted(set(texts))
    assert [summary for summary, text in described if "everyone's" in text] == []
    assert len(texts) > 0.9 * len(described)
