"""Linux network namespaces that simulate disconnectable hosts."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.broker import free_port


def can_create_namespaces() -> bool:
    return os.geteuid() == 0 and all(map(shutil.which, ("ip", "socat")))


class NetworkNamespace:
    """A host that is connected to this machine by a veth pair and reaches forwarded services."""

    def __init__(self, number: int) -> None:
        self.name = f"heimdall{os.getpid() % 10_000}-{number}"
        self._veth = f"hd{os.getpid() % 10_000}-{number}"
        self._address = ""
        self._services: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        inside, self._address = ["-n", self.name], f"{_free_network()}.1"
        _ip("netns", "add", self.name)
        _ip("link", "add", self._veth, "type", "veth", "peer", "eth0", "netns", self.name)
        _ip("address", "add", f"{self._address}/30", "dev", self._veth)
        _ip(*inside, "address", "add", f"{self._address[:-1]}2/30", "dev", "eth0")
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "link", "set", "eth0", "up")
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        for service in self._services:
            service.kill()
            service.wait()
        _ip("netns", "delete", self.name)  # and the veth pair with it

    def forward(self, url: str) -> str:
        """Return the URL under which the host reaches a service on this machine's loopback."""
        parts = urlsplit(url)
        port = free_port()
        listen = f"TCP-LISTEN:{port},bind={self._address},fork,reuseaddr"
        self._services.append(subprocess.Popen(["socat", listen, f"TCP:127.0.0.1:{parts.port}"]))
        netloc = parts.netloc.replace(f"{parts.hostname}:{parts.port}", f"{self._address}:{port}")
        return urlunsplit(parts._replace(netloc=netloc))

    @property
    def prefix(self) -> list[str]:
        """The prefix of a command that runs on the host."""
        return ["ip", "netns", "exec", self.name]

    def disconnect(self) -> None:
        """Drop all packets; connections are not closed."""
        _ip("link", "set", self._veth, "down")

    def connect(self) -> None:
        _ip("link", "set", self._veth, "up")


def _free_network() -> str:
    """Return a network that no other run uses and no killed run left behind."""
    addresses = subprocess.run(
        ["ip", "-4", "-brief", "address"], check=True, capture_output=True, text=True
    ).stdout
    networks = (f"10.213.{number}" for number in range(256))
    return next(network for network in networks if f" {network}." not in addresses)


def _ip(*command: str) -> None:
    subprocess.run(["ip", *command], check=True, capture_output=True)
