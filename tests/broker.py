"""RabbitMQ for the tests: from RABBITMQ_URL, on this machine, or started by the tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

HERE = "amqp://guest:guest@127.0.0.1:5672"
# Not the wrapper of Debian, which only the users root and rabbitmq can run.
SERVERS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"
START_SECONDS = 60


def listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 5672), timeout=2):
            return True
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_program() -> str | None:
    return next((found for name in SERVERS if (found := shutil.which(name))), None)


def own_vhost(url: str, name: str) -> str:
    """The URL of a new virtual host on that broker, or `url` itself where it cannot be created."""
    if not shutil.which("rabbitmqctl") or urlsplit(url).hostname not in {"127.0.0.1", "localhost"}:
        return url
    user = urlsplit(url).username or "guest"
    for command in (
        ["delete_vhost", name],
        ["add_vhost", name],
        ["set_permissions", "-p", name, user, ".*", ".*", ".*"],
    ):
        done = subprocess.run(["rabbitmqctl", "-q", *command], capture_output=True, check=False)
        if done.returncode and command[0] != "delete_vhost":
            return url
    root = url.split("/", 3)[:3]
    return "/".join([*root, quote(name, safe="")])


def drop_vhost(url: str) -> None:
    name = unquote(urlsplit(url).path[1:])
    if name.startswith("heimdall_test"):
        drop = ["rabbitmqctl", "-q", "delete_vhost", name]
        subprocess.run(drop, capture_output=True, check=False)


def all_stopped(group: int) -> bool:
    """Whether every thread of the process group is stopped."""
    states = []
    for file in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
        try:
            # The fields after the name in brackets are state, parent and process group.
            state, _, of = file.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # the thread has ended
            continue
        if int(of) == group:
            states.append(state)
    return all(state in "TtZX" for state in states)


class PrivateBroker:
    """A `rabbitmq-server` on its own ports and in its own folder, to be killed and frozen."""

    def __init__(self, *settings: str) -> None:
        """`settings`: further lines of rabbitmq.conf."""
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"
        self._folder = Path(tempfile.mkdtemp(prefix="heimdall-broker-"))
        self._environment = {
            **os.environ,
            "HOME": str(self._folder),
            "RABBITMQ_NODENAME": f"heimdall{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._folder / "advanced.config"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "none"),
        }
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", *settings, ""]
        (self._folder / "rabbitmq.conf").write_text("\n".join(lines), encoding="ascii")
        # Interval of the check for consumer_timeout; the default is 60 s.
        ticks = "[{rabbit, [{channel_tick_interval, 1000}]}].\n"
        (self._folder / "advanced.config").write_text(ticks, encoding="ascii")
        (self._folder / "plugins").write_text("[].\n", encoding="ascii")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> PrivateBroker:
        program = server_program()
        assert program is not None
        with (self._folder / "out.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program], env=self._environment, cwd=self._folder,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + START_SECONDS
        while not self._is_up():
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError((self._folder / "out.log").read_text(errors="replace")[-2000:])
            time.sleep(0.2)
        return self

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """Return once all threads are stopped, which takes a moment after the signal."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        while not all_stopped(self._process.pid):
            time.sleep(0.001)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def raise_memory_alarm(self) -> None:
        """Raise the memory alarm, which blocks publishers."""
        self._control("set_vm_memory_high_watermark", "0.000001")

    def clear_memory_alarm(self) -> None:
        self._control("set_vm_memory_high_watermark", "0.4")

    def cut_connections(self) -> None:
        """Close all connections, as a firewall does with idle ones."""
        self._control("close_all_connections", "idle")

    def _control(self, *command: str) -> None:
        node = self._environment["RABBITMQ_NODENAME"]
        done = subprocess.run(
            [CONTROL, "-q", "-n", node, *command],
            env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        self.thaw()
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_up(self) -> bool:
        """Whether the broker answers the protocol header; an open port is not enough."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(connection.recv(1))
        except OSError:
            return False

    def _signal(self, which: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, which)
