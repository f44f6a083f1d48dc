"""Serving below a path: the part of a request that reaches the application."""

from __future__ import annotations

from typing import Any

import pytest

from heimdall.base_path import BasePathApplication, without_base_path


async def scope_behind(base_path: str, path: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.update(scope)

    scope = {"type": "http", "path": path, "root_path": "/of-client", "headers": list(headers)}
    await BasePathApplication(application, base_path)(scope, None, None)
    return seen


@pytest.mark.parametrize(
    ("base_path", "path", "expected"),
    [
        ("", "/jobs", "/jobs"),
        ("/heimdall", "/heimdall/jobs", "/heimdall/jobs"),
        ("/heimdall", "/jobs", "/heimdall/jobs"),  # of a proxy that removes the prefix
        ("/heimdall", "/heimdall", "/heimdall/"),
        ("/heimdall", "/heimdallx/jobs", "/heimdall/heimdallx/jobs"),
    ],
)
async def test_path_begins_with_the_base_path(base_path: str, path: str, expected: str) -> None:
    scope = await scope_behind(base_path, path)
    assert (scope["root_path"], scope["path"]) == (base_path, expected)


async def test_root_path_of_a_client_is_ignored() -> None:
    scope = await scope_behind("", "/jobs", (b"daphne-root-path", b"/evil"), (b"host", b"h"))
    assert (scope["root_path"], scope["headers"]) == ("", [(b"host", b"h")])


def test_limits_of_bodies_see_the_path_without_prefix() -> None:
    assert without_base_path(b"/heimdall/datasets", "/heimdall") == b"/datasets"
    assert without_base_path(b"/datasets", "/heimdall") == b"/datasets"
    assert without_base_path(b"/datasets", "") == b"/datasets"
