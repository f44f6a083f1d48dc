"""Postprocessing of the generated OpenAPI schema: every error is a problem (RFC 9457)."""

from __future__ import annotations

from typing import Any

from training.api.errors import CONTENT_TYPE

_PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}


def add_problem_responses(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    for operations in result["paths"].values():
        for operation in operations.values():
            responses = operation["responses"]
            for code, response in responses.items():
                if code >= "400":
                    response["content"] = {CONTENT_TYPE: _PROBLEM}
            responses["default"] = {
                "description": "A problem (RFC 9457).",
                "content": {CONTENT_TYPE: _PROBLEM},
            }
    return result
