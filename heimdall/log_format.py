"""Log formatters: text or one JSON object per line, with passwords and tokens masked."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from training import request_context

# The password of a URL; a bearer token in a header or a WebSocket subprotocol; the token of a link
# that resets a password.
_SECRETS = (
    (re.compile(r"(://[^:/@\s]*:)[^@\s]+@"), r"\1***@"),
    (re.compile(r"(?i)(bearer[ .])[A-Za-z0-9_-]{8,}"), r"\1***"),
    (re.compile(r"(/password-reset/[^/\s]+/)(?!set-password)[^/\s\"']+"), r"\1***"),
)


def mask_secrets(text: str) -> str:
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _context() -> dict[str, str]:
    fields = {
        "request_id": request_context.request_id.get(),
        "job_id": request_context.job_id.get(),
    }
    return {name: value for name, value in fields.items() if value}


class TextFormatter(logging.Formatter):
    """Appends request id and job id to the first line."""

    def format(self, record: logging.LogRecord) -> str:
        first, *more = super().format(record).split("\n")
        fields = "".join(f" {name}={value}" for name, value in _context().items())
        return mask_secrets("\n".join([first + fields, *more]))


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, str | int | None] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": mask_secrets(record.getMessage()),
            "process": record.process,
            **_context(),
        }
        if record.exc_info:
            entry["exception"] = mask_secrets(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def configuration(level: str, formatter: str) -> dict[str, Any]:
    """The setting LOGGING; `formatter` is text or json."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {
                "()": "heimdall.log_format.TextFormatter",
                "format": "{asctime} {levelname} {name}: {message}",
                "style": "{",
            },
            "json": {"()": "heimdall.log_format.JsonFormatter"},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": formatter}},
        "root": {"handlers": ["stderr"], "level": level},
    }
