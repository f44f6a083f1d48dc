"""Address and token of the server: from the environment, else as `heimdall login` stored them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from heimdall_sdk.cli.errors import CommandError
from heimdall_sdk.sync import TOKEN_VARIABLE, URL_VARIABLE

DEFAULT_URL = "http://localhost:8001"


@dataclass(frozen=True)
class Credentials:
    url: str
    token: str


def credentials_file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    folder = Path(base) if base else Path.home() / ".config"
    return folder / "heimdall" / "credentials.json"


def load_credentials() -> Credentials:
    url, token = os.environ.get(URL_VARIABLE, ""), os.environ.get(TOKEN_VARIABLE, "")
    stored = None if url and token else stored_credentials()
    if stored is not None:
        url = url or stored.url
        # A token is sent to the server that issued it, and to no other.
        token = token or (stored.token if stored.url == url.rstrip("/") else "")
    if not url or not token:
        target = f" {url}" if url else ""
        raise CommandError(
            f"No token for a server is stored. Run `heimdall login{target}`, or set {URL_VARIABLE} "
            f"and {TOKEN_VARIABLE}."
        )
    return Credentials(url, token)


def stored_credentials() -> Credentials | None:
    path = credentials_file()
    try:
        found = json.loads(path.read_text())
        return Credentials(str(found["url"]), str(found["token"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f"{path} cannot be read ({error}). Run `heimdall login` again."
        ) from error


def store_credentials(credentials: Credentials) -> Path:
    """Write the file, which only its owner can read."""
    path = credentials_file()
    content = json.dumps({"url": credentials.url, "token": credentials.token}, indent=1) + "\n"
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w") as out:
            out.write(content)
        temporary.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error}).") from error
    return path
