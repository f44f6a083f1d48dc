"""`heimdall login`: exchanges a user name and a password for a token."""

from __future__ import annotations

import argparse
import getpass
import os
import socket
import sys
from contextlib import closing

from heimdall_sdk.api_client import ApiClient
from heimdall_sdk.cli.credentials import (
    DEFAULT_URL,
    Credentials,
    store_credentials,
    stored_credentials,
)
from heimdall_sdk.cli.errors import CommandError, UsageError
from heimdall_sdk.cli.server import Server
from heimdall_sdk.sync import TOKEN_VARIABLE, URL_VARIABLE

API = "/api/v1/auth"


def login(arguments: argparse.Namespace) -> int:
    server = Server(Credentials(_address(arguments.url), ""), api=API)
    user, password = _user_and_password(arguments.user)
    body = {"username": user, "password": password, "name": f"heimdall on {socket.gethostname()}"}
    with closing(server.client):
        answer = server.post("/token", body)
    if not answer.get("token"):
        raise CommandError(f"{server.client.url} sent no token; is it the address of Heimdall?")
    path = store_credentials(Credentials(server.client.url, str(answer["token"])))
    print(f"Logged in to {server.client.url} as {user}; the token is in {path}.")
    for name in (URL_VARIABLE, TOKEN_VARIABLE):
        if os.environ.get(name):
            print(f"{name} is set and takes precedence.", file=sys.stderr)
    return 0


def _address(given: str | None) -> str:
    url = given or os.environ.get(URL_VARIABLE, "")
    if not url:
        stored = stored_credentials()
        url = stored.url if stored else DEFAULT_URL
    url = url if "://" in url else f"http://{url}"
    try:
        return ApiClient(url, "").url
    except ValueError:
        raise UsageError(f"{url!r} is not an address like {DEFAULT_URL}.") from None


def _user_and_password(user: str | None) -> tuple[str, str]:
    """Read user name and password from the terminal or stdin (with --user, the password only)."""
    try:
        if sys.stdin.isatty():
            user = user or input("User name: ")
            return user, getpass.getpass(f"Password of {user}: ")
        user = user or _line("user name")
        return user, _line("password")
    except EOFError:
        raise UsageError("The input ended before the password.") from None


def _line(content: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise UsageError(f"stdin has no line with the {content}.")
    return line.rstrip("\r\n")
