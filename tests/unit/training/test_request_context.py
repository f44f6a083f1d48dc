from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from training.request_context import client_address, client_network


def request(address: str, forwarded_for: str | None = None) -> Any:
    headers = {} if forwarded_for is None else {"X-Forwarded-For": forwarded_for}
    return RequestFactory().get("/", REMOTE_ADDR=address, headers=headers)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
    ],
)
def test_limits_count_by_address_or_ipv6_network(address: str, network: str) -> None:
    assert client_network(request(address)) == network


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("1.2.3.4, 198.51.100.1", "198.51.100.1"),
        ("198.51.100.1:4711", "198.51.100.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("any text", "10.0.0.1"),
        ("1.2.3.4, ", "10.0.0.1"),
        ("x" * 1000, "10.0.0.1"),
    ],
)
def test_forwarded_value_is_used_only_if_it_is_an_address(
    settings: Any, forwarded: str, address: str
) -> None:
    settings.PROXIES = 1
    assert client_address(request("10.0.0.1", forwarded)) == address
