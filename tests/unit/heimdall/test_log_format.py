from __future__ import annotations

import json
import logging
import sys

from heimdall.log_format import JsonFormatter, TextFormatter, mask_secrets
from training import request_context

URL = "amqp://user:very-secret@broker:5672/%2F"
TOKEN = "Bearer abcdefgh_IJKLMNOP-123456"


def record(message: str) -> logging.LogRecord:
    try:
        raise RuntimeError(f"cannot reach {URL}")
    except RuntimeError:
        return logging.LogRecord(
            "heimdall", logging.ERROR, "", 1, message, (URL, TOKEN), sys.exc_info()
        )


def test_formatters_mask_passwords_and_tokens() -> None:
    for form in (TextFormatter("{levelname} {message}", style="{"), JsonFormatter()):
        line = form.format(record("to %s with %s"))
        assert "very-secret" not in line and "abcdefgh" not in line
        assert "user:***@broker" in line and "RuntimeError" in line


def test_link_that_resets_a_password_is_masked() -> None:
    """It is valid until the new password is set, and opening it is logged."""
    link = "GET /password-reset/Mg/d2x9ab-0123456789abcdef0123456789abcdef"
    assert mask_secrets(f"{link} 302") == "GET /password-reset/Mg/*** 302"
    assert mask_secrets(f"'{link}'") == "'GET /password-reset/Mg/***'"
    form = "GET /password-reset/Mg/set-password 200"
    assert mask_secrets(form) == form


def test_log_lines_contain_request_id_and_job_id() -> None:
    request_context.request_id.set("r-1")
    request_context.job_id.set("j-1")
    try:
        entry = json.loads(JsonFormatter().format(record("%s%s")))
        assert (entry["request_id"], entry["job_id"], entry["level"]) == ("r-1", "j-1", "ERROR")
        line = TextFormatter("{message}", style="{").format(record("%s%s"))
        assert line.split("\n")[0].endswith("request_id=r-1 job_id=j-1")
    finally:
        request_context.request_id.set("")
        request_context.job_id.set("")


def test_request_id_of_the_client_is_kept_if_it_is_safe_to_log() -> None:
    assert request_context.named_user("mine-1") == "mine-1"
    assert request_context.named_user("two\nlines") != "two\nlines"
    assert len(request_context.named_user("x" * 65)) == 16
