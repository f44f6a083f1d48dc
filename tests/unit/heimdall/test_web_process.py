from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

import pytest

from heimdall import web_process


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("8001", 8001), ("65535", 65535)])
def test_port_argument_is_parsed(text: str, port: int) -> None:
    assert web_process.parse_port(text) == port


@pytest.mark.parametrize("text", ["-1", "65536", "70000", "x", "", "²", "80.0", "9" * 5000])
def test_invalid_port_is_refused_with_its_value(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a port; use a number from 0 to 65535"):
        web_process.parse_port(text)


@pytest.mark.parametrize(
    ("host", "url"),
    [("::", "http://[::]:8106"), ("::1", "http://[::1]:8106"), ("0.0.0.0", "http://0.0.0.0:8106")],
)
def test_ipv6_address_is_in_brackets(host: str, url: str) -> None:
    assert web_process.web_address(host, 8106) == url


def test_banner_of_the_embedded_mode_names_the_variables(db: None) -> None:
    banner = web_process.startup_banner()
    assert banner.startswith("Using SQLite and an in-process broker (embedded).")
    assert "RABBITMQ_URL and DATABASE_URL" in banner


def test_banner_with_a_broker_hides_its_password(db: None, settings: Any) -> None:
    settings.EMBEDDED, settings.RABBITMQ_URL = False, "amqp://user:geheim@broker:5672/%2F"
    banner = web_process.startup_banner()
    assert "RabbitMQ at broker:5672/%2F" in banner
    assert "geheim" not in banner


def test_database_of_the_tests_is_migrated(db: None) -> None:
    assert web_process.is_migrated()


def test_no_embedded_worker_starts_with_a_broker(settings: Any) -> None:
    settings.EMBEDDED = False
    with web_process.embedded_worker_if_needed() as nothing:
        assert nothing is None
