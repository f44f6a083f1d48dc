"""How a line of the log looks: for people, or as one JSON object; never with a secret in it."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from training import request_context

# The password of a URL; a bearer token, however it is announced.
_SECRETS = (
    (re.compile(r"(://[^:/@\s]*:)[^@\s]+@"), r"\1***@"),
    (re.compile(r"(?i)(bearer[ .])[A-Za-z0-9_-]{8,}"), r"\1***"),
)


def masked(text: str) -> str:
    """Without passwords and tokens."""
    for secret, instead in _SECRETS:
        text = secret.sub(instead, text)
    return text


def _context() -> dict[str, str]:
    found = {"request_id": request_context.request_id.get(), "job_id": request_context.job_id.get()}
    return {name: value for name, value in found.items() if value}


class Text(logging.Formatter):
    """One line, with what it belongs to at its end."""

    def format(self, record: logging.LogRecord) -> str:
        first, *more = super().format(record).split("\n")
        belongs = "".join(f" {name}={value}" for name, value in _context().items())
        return masked("\n".join([first + belongs, *more]))


class Json(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": masked(record.getMessage()),
            "process": record.process,
            **_context(),
        }
        if record.exc_info:
            told["exception"] = masked(self.formatException(record.exc_info))
        return json.dumps(told, ensure_ascii=False)


def configuration(level: str, form: str) -> dict[str, Any]:
    """For `logging.config`; `form` is text or json."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {
                "()": "heimdall.log_format.Text",
                "format": "{asctime} {levelname} {name}: {message}",
                "style": "{",
            },
            "json": {"()": "heimdall.log_format.Json"},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form}},
        "root": {"handlers": ["stderr"], "level": level},
    }
