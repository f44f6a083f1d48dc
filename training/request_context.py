"""The request or job that the running code serves, for logs and the audit log.

Context variables follow a request into its thread, so no function has to pass them on.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from ipaddress import IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)
request_id: ContextVar[str] = ContextVar("request_id", default="")
job_id: ContextVar[str] = ContextVar("job_id", default="")

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def named_user(sent: str) -> str:
    """The caller's request ID if it is safe in a log, else a new one."""
    return sent if _VALID_ID.fullmatch(sent) else secrets.token_hex(8)


def client_address(request: HttpRequest) -> str:
    """The client's address: as our outermost proxy reports it, if there is one.

    Values that are not addresses are ignored, because a client could send anything.
    """
    here = str(request.META.get("REMOTE_ADDR") or "")
    forwarded_for = request.headers.get("X-Forwarded-For", "").split(",")
    if settings.PROXIES and forwarded_for != [""]:
        forwarded = forwarded_for[-min(settings.PROXIES, len(forwarded_for))].strip()
        here = _without_port(forwarded) or here
    return _parse_address(here) or "unknown"


def client_network(request: HttpRequest) -> str:
    """The key of limits per address: an IPv4 address, or the /64 network of an IPv6 address."""
    here = client_address(request)
    if ":" not in here:
        return here
    return str(ip_network(f"{here}/64", strict=False))


def _without_port(text: str) -> str:
    """The address in `192.0.2.1:4711` and `[2001:db8::1]:4711`, as some proxies write it."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return _parse_address(text)


def _parse_address(text: str) -> str:
    """The canonical form; empty if the text is not an address. `::ffff:192.0.2.1` is IPv4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
