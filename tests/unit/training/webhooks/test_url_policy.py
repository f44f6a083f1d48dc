from __future__ import annotations

import socket
import threading
import time
from ipaddress import ip_address
from typing import Any

import pytest

from training.webhooks import url_policy
from training.webhooks.url_policy import (
    ForbiddenUrlError,
    ResolverBusyError,
    check_target,
    is_public,
    parse_target,
    resolve_addresses,
)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
     "100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255", "::1",
     "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::a9fe:a9fe", "2001:db8::1", "fec0::1",
     "192.88.99.1", "::7f00:1", "::ffff:0:7f00:1",
     "::ffff:0:808:808", "::808:808", "64:ff9b:1::1",
     "3fff::1", "5f00::1", "2001::1"],
)  # fmt: skip
def test_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_public_address_is_allowed(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://example.org/", "Only https://"),
        ("ftp://example.org/", "is not a valid URL"),
        ("https://", "is not a valid URL"),
        ("https://user:pass@example.org/", "user name or password"),
        ("https://example.org:99999/", "is not a valid URL"),
        ("https://example.org/\r\nX: y", "is not a valid URL"),
    ],
)
def test_invalid_webhook_url_is_refused_with_the_reason(url: str, sentence: str) -> None:
    with pytest.raises(ForbiddenUrlError, match=sentence):
        parse_target(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f000001", "[::1]", "localhost"])
def test_loopback_is_refused_in_every_notation(host: str) -> None:
    with pytest.raises(ForbiddenUrlError):
        check_target(f"https://{host}/hook")


def test_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
                for address in ("93.184.216.34", "10.0.0.1")]  # fmt: skip

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    with pytest.raises(ForbiddenUrlError, match=r"example\.org resolves to 10\.0\.0\.1"):
        check_target("https://example.org/hook")


def test_setting_allows_private_addresses_and_http(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    check_target("http://127.0.0.1:8080/hook")
    assert parse_target("http://[::1]:8080/a?b").authority == "[::1]:8080"
    assert parse_target("https://example.org/a?b=1").path == "/a?b=1"


def test_resolution_stops_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        released.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    try:
        with pytest.raises(OSError, match=r"did not answer within 0\.2 s"):
            resolve_addresses(parse_target("https://example.org/hook"), timeout=0.2)
    finally:
        released.set()
    assert time.monotonic() - started < 10


def test_slow_name_resolutions_use_a_bounded_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        released.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(url_policy, "_lookups", threading.BoundedSemaphore(2))
    monkeypatch.setattr(url_policy, "RESOLVE_SECONDS", 0.1)
    try:
        for _ in range(2):
            with pytest.raises(ForbiddenUrlError, match="did not answer"):
                check_target("https://example.org/hook")
        # Both threads were given up and still run.
        with pytest.raises(ResolverBusyError) as refused:
            check_target("https://example.org/hook")
        assert refused.value.status_code == 503
        assert refused.value.wait
    finally:
        released.set()
