"""The origin of a WebSocket is compared with scheme and port."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.origin import is_same_origin


def scope(
    origin: str | None, host: str = "localhost:8001", scheme: str = "ws", **headers: str
) -> Any:
    sent = {"host": host, **({"origin": origin} if origin is not None else {}), **headers}
    pairs = [(name.encode(), value.encode("latin1")) for name, value in sent.items()]
    return {"scheme": scheme, "headers": pairs, "server": ("127.0.0.1", 8001)}


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000", "https://localhost:8001", "https://localhost:9", "http://127.0.0.1:1",
        "http://localhost", "null", "", "http://evil.example", "http://localhost:8001.evil.example",
        "http://[::1", "localhost:8001",
    ],
)  # fmt: skip
def test_other_scheme_port_or_host_is_another_origin(origin: str) -> None:
    assert not is_same_origin(scope(origin))


def test_own_origin_and_clients_without_an_origin_are_accepted() -> None:
    assert is_same_origin(scope("http://localhost:8001"))
    assert is_same_origin(scope("https://localhost:8001", scheme="wss"))
    assert is_same_origin(scope(None))


def test_any_host_allowed_does_not_mean_any_origin(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert not is_same_origin(scope("http://evil.example"))
    assert is_same_origin(scope("http://localhost:8001"))


def test_unserved_host_has_no_origin() -> None:
    assert not is_same_origin(scope("http://evil.example", host="evil.example"))


def test_scheme_behind_a_proxy_is_that_of_the_client(settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    forwarded = {"x-forwarded-proto": "https"}
    assert is_same_origin(scope("https://localhost", host="localhost", **forwarded))
    assert not is_same_origin(scope("http://localhost", host="localhost", **forwarded))


@pytest.mark.parametrize(
    ("origin", "is_trusted"),
    [
        ("https://lab.example.org", True), ("https://example.com:8443", True),
        ("http://lab.example.org", False), ("https://example.com", False),
        ("https://evil-example.org", False),
    ],
)  # fmt: skip
def test_trusted_origins_are_those_of_forms(settings: Any, origin: str, is_trusted: bool) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.org", "https://example.com:8443"]
    assert is_same_origin(scope(origin)) == is_trusted


def test_scheme_is_optional_in_a_scope() -> None:
    found = scope("http://localhost:8001")
    del found["scheme"]
    assert is_same_origin(found)
