"""Where a webhook may lead: to public addresses, so that nobody reaches our network through us.

A name is looked up once for each attempt, and what is connected to is the address that was
checked: a name that answers differently the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from django.conf import settings

Address = IPv4Address | IPv6Address
NAT64 = IPv6Network("64:ff9b::/96")
# Metadata services of clouds, at addresses that some versions of Python take for public.
METADATA = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"))


class ForbiddenUrlError(ValueError):
    """A webhook must not lead there; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook's URL, taken apart."""

    host: str
    port: int
    path: str
    tls: bool

    @property
    def authority(self) -> str:
        """What the Host header says (RFC 9110, 7.2)."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"


def parse_target(url: str) -> Target:
    """The URL taken apart; Forbidden where it cannot be one of a webhook."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ForbiddenUrlError(f"{url!r} is no URL: {error}.") from None
    if parts.scheme not in ("https", "http") or not host or not _printable(url):
        raise ForbiddenUrlError(f"{url!r} is no URL like https://example.org/hook.")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenUrlError("A user name or password in the URL is not sent; leave it out.")
    tls = parts.scheme == "https"
    if not tls and not settings.WEBHOOK_ALLOW_PRIVATE:
        raise ForbiddenUrlError("Only https:// is allowed, so that nobody can read along.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port or (443 if tls else 80), path, tls)


def _printable(url: str) -> bool:
    """Plain ASCII: a line break would begin a header of its own."""
    return all(33 <= ord(one) <= 126 for one in url)


def resolve_addresses(found: Target) -> list[str]:
    """Its addresses, each of them allowed; Forbidden where one is not, OSError where none is."""
    rows = socket.getaddrinfo(found.host, found.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(row[4][0]) for row in rows))
    if not settings.WEBHOOK_ALLOW_PRIVATE:
        for one in addresses:
            if not is_public(ip_address(one.partition("%")[0])):
                raise ForbiddenUrlError(
                    f"{found.host} leads to {one}, which is not a public address; "
                    "HEIMDALL_WEBHOOK_ALLOW_PRIVATE=1 would allow it."
                )
    return addresses


def check_target(url: str) -> None:
    """Whether a webhook may lead there now; Forbidden says why not."""
    found = parse_target(url)
    try:
        resolve_addresses(found)
    except (OSError, UnicodeError) as error:
        raise ForbiddenUrlError(f"{found.host} cannot be found: {error}.") from None


def is_public(address: Address) -> bool:
    """Neither private, loopback, link-local, shared, multicast nor reserved, in any disguise."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    if any(address in network for network in METADATA):
        return False
    return address.is_global and not address.is_multicast
