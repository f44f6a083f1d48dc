"""Postprocessing of the generated OpenAPI schema: every error is a problem (RFC 9457)."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from pydantic import JsonValue

from training.api.errors import CONTENT_TYPE

_PROBLEM: dict[str, JsonValue] = {"schema": {"$ref": "#/components/schemas/Problem"}}


class _Response(TypedDict, total=False):
    description: str
    content: dict[str, dict[str, JsonValue]]


class _Operation(TypedDict):
    responses: dict[str, _Response]
    security: NotRequired[list[dict[str, list[str]]]]


class _Document(TypedDict):
    paths: dict[str, dict[str, _Operation]]


def add_problem_responses(result: _Document, **_: Any) -> _Document:
    for operations in result["paths"].values():
        for operation in operations.values():
            responses = operation["responses"]
            for scope in [
                name for one in operation.get("security", []) for name in one.get("bearer", [])
            ]:
                responses.setdefault("403", {})["description"] = (
                    f"The token lacks the scope `{scope}`, or only the owner can do this."
                )
            for code, response in responses.items():
                if code >= "400":
                    response["content"] = {CONTENT_TYPE: _PROBLEM}
            responses["default"] = {
                "description": "A problem (RFC 9457).",
                "content": {CONTENT_TYPE: _PROBLEM},
            }
    return result
