"""URLs of RabbitMQ with their options, as https://www.rabbitmq.com/docs/uri-query-parameters."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

SCHEMES = ("amqp", "amqps", "pyamqp")
TLS_OPTIONS = ("cacertfile", "certfile", "keyfile", "verify", "server_name_indication")
OPTIONS = ("heartbeat", "connection_timeout", *TLS_OPTIONS)
VERIFY = ("verify_peer", "verify_none")
MAX_HEARTBEAT_SECONDS = 65_535
MAX_TIMEOUT_MS = 3_600_000


class AmqpUrlError(ValueError):
    """The URL cannot be used; the message continues a sentence that begins with it."""


@dataclass(frozen=True, slots=True)
class AmqpUrl:
    """A URL without its query, and the options of the query."""

    url: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def heartbeat(self) -> int | None:
        value = self.options.get("heartbeat")
        return None if value is None else int(value)

    @property
    def connect_seconds(self) -> float | None:
        value = self.options.get("connection_timeout")
        return None if value is None else int(value) / 1000

    @property
    def uses_tls(self) -> bool:
        return self.url.startswith("amqps:")

    def ssl_context(self) -> ssl.SSLContext | None:
        """For asyncio; None without TLS. The server's certificate is verified by default."""
        if not self.uses_tls:
            return None
        context = ssl.create_default_context(cafile=self.options.get("cacertfile"))
        if certificate := self.options.get("certfile"):
            context.load_cert_chain(certificate, self.options.get("keyfile"))
        if self.options.get("verify") == "verify_none":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    @property
    def server_name(self) -> str | None:
        """The name in the certificate, if it is not the host of the URL."""
        return self.options.get("server_name_indication") if self.uses_tls else None

    def kombu_ssl(self) -> dict[str, Any] | bool:
        """The same for kombu and Celery."""
        if not self.uses_tls:
            return False
        verify = self.options.get("verify") != "verify_none"
        given = {
            "ca_certs": self.options.get("cacertfile"),
            "certfile": self.options.get("certfile"),
            "keyfile": self.options.get("keyfile"),
            # Given a name, amqp verifies it even without `cert_reqs`.
            "server_hostname": (self.server_name or urlsplit(self.url).hostname)
            if verify
            else None,
            "cert_reqs": ssl.CERT_REQUIRED if verify else ssl.CERT_NONE,
        }
        return {name: value for name, value in given.items() if value is not None}


def parse_amqp_url(text: str) -> AmqpUrl:
    """Raises AmqpUrlError with the reason."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise AmqpUrlError("is not an AMQP URL")
    # `//` is the usual way to write the virtual host `/`.
    if parts.fragment or ("/" in parts.path[1:] and parts.path != "//"):
        raise AmqpUrlError("has an unescaped # or / in the name of its virtual host")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in options.items():
        if reason := _refuse_option(parts.scheme, name, value):
            raise AmqpUrlError(reason)
    return AmqpUrl(parts._replace(query="").geturl(), options)


def _refuse_option(scheme: str, name: str, value: str) -> str:
    """Why the option cannot be used; empty if it can."""
    if name not in OPTIONS:
        return f"has the unknown option {name!r}; the options are {', '.join(OPTIONS)}"
    if name in TLS_OPTIONS and scheme != "amqps":
        return f"has the option {name!r}, which needs amqps://"
    if name.endswith("file") and not Path(value).is_file():
        return f"has the option {name}={value!r}, which is not a file"
    if name == "verify" and value not in VERIFY:
        return f"has the option verify={value!r}; use {' or '.join(VERIFY)}"
    if name == "heartbeat" and not _is_integer(value, 0, MAX_HEARTBEAT_SECONDS):
        return f"has the option heartbeat={value!r}, which is not a number of seconds"
    if name == "connection_timeout" and not _is_integer(value, 1, MAX_TIMEOUT_MS):
        return (
            f"has the option connection_timeout={value!r}, "
            "which is not a number of milliseconds above 0"
        )
    return ""


def _is_integer(text: str, minimum: int, maximum: int) -> bool:
    valid = text.isascii() and text.isdigit() and len(text) <= len(str(maximum))
    return valid and minimum <= int(text) <= maximum
