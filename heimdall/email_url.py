"""The mail server, from `EMAIL_URL`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

HINT: Final = (
    "Use smtps://USER:PASSWORD@HOST:465?from=ADDRESS, smtp+tls://USER:PASSWORD@HOST:587?from="
    "ADDRESS or smtp://HOST:25?from=ADDRESS; for tests console:// or file:///FOLDER. Unset it to "
    "send none."
)
# Port, and whether TLS begins with the connection or after STARTTLS.
_SMTP: Final[Mapping[str, tuple[int, bool, bool]]] = {
    "smtp": (25, False, False),
    "smtp+tls": (587, False, True),
    "submission": (587, False, True),
    "smtps": (465, True, False),
    "smtp+ssl": (465, True, False),
}
_CONSOLE: Final = ("console", "consolemail")
_FILE: Final = ("file", "filemail")
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class EmailSettings:
    """The values of Django's settings EMAIL_*."""

    backend: str
    host: str = ""
    port: int = 25
    user: str = ""
    password: str = ""
    use_ssl: bool = False
    use_tls: bool = False
    folder: str | None = None
    sender: str = ""


def parse_email_url(url: str) -> EmailSettings:
    """Raises ValueError with what is wrong, without the password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL with a valid port") from None
    sender = _sender(parts)
    if parts.scheme in _CONSOLE:
        return EmailSettings("django.core.mail.backends.console.EmailBackend", sender=sender)
    if parts.scheme in _FILE:
        folder = unquote(parts.path)
        if parts.netloc or not Path(folder).is_absolute():
            raise ValueError("has no absolute path of a folder")
        backend = "django.core.mail.backends.filebased.EmailBackend"
        return EmailSettings(backend, folder=folder, sender=sender)
    if parts.scheme not in _SMTP:
        raise ValueError("has none of the schemes smtp, smtp+tls, smtps, console and file")
    if not parts.hostname:
        raise ValueError("has no host")
    if parts.path not in {"", "/"} or parts.fragment:
        raise ValueError("has more than a host and a port; encode # as %23 and / as %2F")
    if port is not None and not 0 < port <= _MAX_PORT:
        raise ValueError(f"has the port {port}, which is not from 1 to {_MAX_PORT}")
    if bool(parts.username) != bool(parts.password):
        raise ValueError("has a user without a password, or the reverse")
    user = unquote(parts.username or "")
    default_port, use_ssl, use_tls = _SMTP[parts.scheme]
    return EmailSettings(
        backend="django.core.mail.backends.smtp.EmailBackend",
        host=parts.hostname,
        port=port or default_port,
        user=user,
        password=unquote(parts.password or ""),
        use_ssl=use_ssl,
        use_tls=use_tls,
        sender=sender or (user if _is_address(user) else ""),
    )


def _sender(parts: SplitResult) -> str:
    options = parse_qsl(parts.query, keep_blank_values=True)
    if unknown := sorted({name for name, _ in options} - {"from"}):
        raise ValueError(f"has the unknown option {', '.join(unknown)}")
    sender = dict(options).get("from", "")
    if options and not _is_address(parseaddr(sender)[1]):
        raise ValueError(f"has the sender {sender!r}, which is not an e-mail address")
    return sender


def _is_address(text: str) -> bool:
    name, at, host = text.partition("@")
    return bool(name and at and host and "@" not in host and not any(map(str.isspace, text)))
