"""Hosts of their own, as far as the network is concerned: Linux network namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.broker import free_port


def can_make_hosts() -> bool:
    return os.geteuid() == 0 and all(map(shutil.which, ("ip", "socat")))


class Host:
    """Joined to this machine by one cable, through which it sees the services it is told of."""

    def __init__(self, number: int) -> None:
        self.name = f"heimdall{os.getpid() % 10_000}-{number}"
        self._cable = f"hd{os.getpid() % 10_000}-{number}"
        self._here = ""
        self._services: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        there, self._here = ["-n", self.name], f"{_free_net()}.1"
        _ip("netns", "add", self.name)
        _ip("link", "add", self._cable, "type", "veth", "peer", "eth0", "netns", self.name)
        _ip("address", "add", f"{self._here}/30", "dev", self._cable)
        _ip(*there, "address", "add", f"{self._here[:-1]}2/30", "dev", "eth0")
        _ip(*there, "link", "set", "lo", "up")
        _ip(*there, "link", "set", "eth0", "up")
        self.join()
        return self

    def __exit__(self, *_: object) -> None:
        for service in self._services:
            service.kill()
            service.wait()
        _ip("netns", "delete", self.name)  # and the cable with it

    def sees(self, url: str) -> str:
        """The URL under which the host reaches what only listens on this machine's loopback."""
        parts = urlsplit(url)
        port = free_port()
        listen = f"TCP-LISTEN:{port},bind={self._here},fork,reuseaddr"
        self._services.append(subprocess.Popen(["socat", listen, f"TCP:127.0.0.1:{parts.port}"]))
        place = parts.netloc.replace(f"{parts.hostname}:{parts.port}", f"{self._here}:{port}")
        return urlunsplit(parts._replace(netloc=place))

    @property
    def prefix(self) -> list[str]:
        """Before a command that is to run there."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """Pull the cable: what is sent is lost, and no connection hears of an end."""
        _ip("link", "set", self._cable, "down")

    def join(self) -> None:
        _ip("link", "set", self._cable, "up")


def _free_net() -> str:
    """Used by no other run, and left behind by none that was killed."""
    addresses = subprocess.run(
        ["ip", "-4", "-brief", "address"], check=True, capture_output=True, text=True
    ).stdout
    nets = (f"10.213.{number}" for number in range(256))
    return next(net for net in nets if f" {net}." not in addresses)


def _ip(*command: str) -> None:
    subprocess.run(["ip", *command], check=True, capture_output=True)
