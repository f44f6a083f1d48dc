"""The request or job that the running code serves, for logs and the audit log.

Context variables follow a request into its thread, so no function has to pass them on.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

from django.conf import settings
from django.http import HttpRequest

request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)
request_id: ContextVar[str] = ContextVar("request_id", default="")
job_id: ContextVar[str] = ContextVar("job_id", default="")

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def named_user(sent: str) -> str:
    """The caller's request ID if it is safe in a log, else a new one."""
    return sent if _VALID_ID.fullmatch(sent) else secrets.token_hex(8)


def client_address(asked: HttpRequest) -> str:
    """The client's address: as our outermost proxy reports it, if there is one."""
    here = str(asked.META.get("REMOTE_ADDR") or "")
    forwarded_for = asked.headers.get("X-Forwarded-For", "").split(",")
    if settings.PROXIES and forwarded_for != [""]:
        here = forwarded_for[-min(settings.PROXIES, len(forwarded_for))].strip()
    return here[:45]
