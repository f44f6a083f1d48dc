"""Allowed webhook URLs: public addresses only, so users cannot reach our network (SSRF).

A name is resolved once per attempt, and the client connects to the address that was checked, so a
name that resolves differently the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings
from rest_framework.exceptions import APIException

from training.request_thread import release_database

Address = IPv4Address | IPv6Address
RESOLVE_SECONDS = 10
# Lookups under way in requests; a thread that was given up counts until it ends.
MAX_LOOKUPS = 8
RETRY_AFTER_SECONDS = 5
# All others are special, and some of them are translated to IPv4 addresses (RFC 6052, RFC 7915).
GLOBAL_UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
# Special ranges that `is_global` of some supported Python versions accepts.
BLOCKED_NETWORKS = tuple(
    ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure metadata
        "192.0.0.0/24",  # IETF protocol assignments; Oracle Cloud metadata
        "192.88.99.0/24",  # 6to4 relay anycast, RFC 7526
        "::/96",  # IPv4-compatible, RFC 4291
        "64:ff9b:1::/48",  # local-use NAT64, RFC 8215
        "3fff::/20",  # documentation, RFC 9637
        "5f00::/16",  # segment routing, RFC 9602
    )
)


class ForbiddenUrlError(ValueError):
    """The URL or one of its addresses is not allowed; the message has the reason."""


class ResolverBusyError(APIException):
    """Too many names are being resolved."""

    status_code = 503
    wait = RETRY_AFTER_SECONDS  # DRF sends it as Retry-After
    default_detail = (
        f"{MAX_LOOKUPS} host names are being resolved; try again in {RETRY_AFTER_SECONDS} seconds."
    )


_lookups = threading.BoundedSemaphore(MAX_LOOKUPS)
# Deliveries have their own, so that slow names of some webhooks refuse no request.
_delivery_lookups = threading.BoundedSemaphore(2 * MAX_LOOKUPS)


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a webhook's URL."""

    host: str
    port: int
    path: str
    tls: bool

    @property
    def authority(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"


def parse_target(url: str) -> Target:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ForbiddenUrlError(f"{url!r} is not a valid URL: {error}.") from None
    if parts.scheme not in ("https", "http") or not host or not _is_printable_ascii(url):
        raise ForbiddenUrlError(
            f"{url!r} is not a valid URL. Use one like https://example.org/hook."
        )
    if parts.username is not None or parts.password is not None:
        raise ForbiddenUrlError("A URL with a user name or password is not supported; remove them.")
    tls = parts.scheme == "https"
    if not tls and not settings.WEBHOOK_ALLOW_PRIVATE:
        raise ForbiddenUrlError("Only https:// URLs are allowed: http:// is not encrypted.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port or (443 if tls else 80), path, tls)


def _is_printable_ascii(url: str) -> bool:
    # A line break would start another header.
    return all(33 <= ord(character) <= 126 for character in url)


def resolve_addresses(target: Target, timeout: float = RESOLVE_SECONDS) -> list[str]:
    """The target's addresses; ForbiddenUrlError if one is not allowed, OSError after a timeout."""
    try:
        return _resolve_allowed(target, timeout, _delivery_lookups)
    except ResolverBusyError as error:
        raise OSError(str(error)) from None


def _resolve_allowed(
    target: Target, timeout: float, slots: threading.BoundedSemaphore
) -> list[str]:
    addresses = _look_up(target, timeout, slots)
    if not settings.WEBHOOK_ALLOW_PRIVATE:
        for address in addresses:
            if not is_public(ip_address(address.partition("%")[0])):
                raise ForbiddenUrlError(
                    f"{target.host} resolves to {address}, which is not a public address. "
                    "HEIMDALL_WEBHOOK_ALLOW_PRIVATE=1 allows private addresses."
                )
    return addresses


def _look_up(target: Target, timeout: float, slots: threading.BoundedSemaphore) -> list[str]:
    """Resolve in a thread: getaddrinfo has no timeout, and a slow name server may take minutes.

    A thread that is given up ends when the system's resolver does.
    """
    if not slots.acquire(blocking=False):
        raise ResolverBusyError
    future: Future[list[str]] = Future()

    def resolve() -> None:
        try:
            rows = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            future.set_result(list(dict.fromkeys(str(row[4][0]) for row in rows)))
        except Exception as error:  # raised again by result()
            future.set_exception(error)
        finally:
            slots.release()

    threading.Thread(target=resolve, name="resolve", daemon=True).start()
    try:
        return future.result(timeout)
    except TimeoutError:
        raise OSError(f"the name server did not answer within {timeout:.1f} s") from None


def check_target(url: str) -> None:
    """Raise ForbiddenUrlError, or ResolverBusyError. Call it outside transactions."""
    target = parse_target(url)
    release_database()
    try:
        _resolve_allowed(target, RESOLVE_SECONDS, _lookups)
    except (OSError, UnicodeError) as error:
        raise ForbiddenUrlError(f"{target.host} cannot be resolved: {error}.") from None


def is_public(address: Address) -> bool:
    """Whether it is a global unicast address; an embedded IPv4 address has to be one too."""
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is None and address in NAT64:
            embedded = IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(embedded)
        if address.teredo is not None or address not in GLOBAL_UNICAST:
            return False
    if any(address in network for network in BLOCKED_NETWORKS):
        return False
    return address.is_global and not address.is_multicast
