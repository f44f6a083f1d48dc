"""PostgreSQL over TLS: the server's certificate is verified if the URL requests it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings

from tests.broker import free_port
from tests.certificates import Authority

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
ROOT = os.getuid() == 0
pytestmark = [
    pytest.mark.xdist_group("database_tls"),
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not PROGRAMS or (ROOT and not shutil.which("runuser")),
        reason="needs programs of PostgreSQL",
    ),
]
# PostgreSQL does not run as root.
AS_USER = ["runuser", "-u", "postgres", "--"] if ROOT else []


def program(name: str, *arguments: str) -> None:
    command = [*AS_USER, str(PROGRAMS[-1] / name), *arguments]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A URL without options of a server for `localhost`, and the file of its authority."""
    # Below /tmp, because the server's user cannot enter the folder of the tests.
    folder = Path(f"/tmp/heimdall-tls-{os.getpid()}")
    folder.mkdir(mode=0o755)
    try:
        data, port = folder / "data", free_port()
        authority = Authority(tmp_path_factory.mktemp("authority"))
        if ROOT:
            shutil.chown(folder, "postgres")
        program("initdb", "--auth=trust", "--username=postgres", "--no-sync", str(data))
        certificate = authority.issue("localhost")
        for source, name in zip(certificate, ("server.crt", "server.key"), strict=True):
            target = data / name
            shutil.copy(source, target)
            target.chmod(0o600)
            if ROOT:
                shutil.chown(target, "postgres")
        options = f"-p {port} -c ssl=on -c listen_addresses=127.0.0.1 -k {folder}"
        log = str(folder / "log")
        program("pg_ctl", "start", "-w", "-D", str(data), "-o", options, "-l", log)
        try:
            yield f"postgres://postgres@localhost:{port}/postgres", authority.file
        finally:
            program("pg_ctl", "stop", "-m", "immediate", "-D", str(data))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def migrate(folder: Path, url: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(command or ("manage.py", "migrate", "-v0"))],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "heimdall.settings",
            "HEIMDALL_DATA_DIR": str(folder),
            "DATABASE_URL": url,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_verified_server_is_accepted(server: tuple[str, Path], tmp_path: Path) -> None:
    address, authority = server
    url = f"{address}?sslmode=verify-full&sslrootcert={quote(str(authority))}"
    done = migrate(tmp_path, url)
    assert done.returncode == 0, done.stderr
    query = (
        "import django; django.setup()\n"
        "from django.db import connection as c\n"
        "cursor = c.cursor()\n"
        "cursor.execute('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')\n"
        "print(cursor.fetchone()[0])"
    )
    assert migrate(tmp_path, url, "-c", query).stdout.strip() == "True"


@pytest.mark.parametrize("fault", ["another authority", "another name"])
def test_server_that_is_not_verified_is_refused_with_a_sentence(
    server: tuple[str, Path], tmp_path: Path, fault: str
) -> None:
    address, authority = server
    if fault == "another name":
        address = address.replace("localhost", "127.0.0.1")
    else:
        authority = Authority(tmp_path).file
    done = migrate(tmp_path, f"{address}?sslmode=verify-full&sslrootcert={quote(str(authority))}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be reached" in done.stderr
    assert "certificate" in done.stderr
