from __future__ import annotations

import json
import logging
import sys

from heimdall.log_format import Json, Text
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


def test_no_password_and_no_token_is_logged_in_either_form() -> None:
    for form in (Text("{levelname} {message}", style="{"), Json()):
        line = form.format(record("to %s with %s"))
        assert "very-secret" not in line and "abcdefgh" not in line
        assert "user:***@broker" in line and "RuntimeError" in line


def test_a_line_says_which_request_and_job_it_belongs_to() -> None:
    request_context.request_id.set("r-1")
    request_context.job_id.set("j-1")
    try:
        told = json.loads(Json().format(record("%s%s")))
        assert (told["request_id"], told["job_id"], told["level"]) == ("r-1", "j-1", "ERROR")
        line = Text("{message}", style="{").format(record("%s%s"))
        assert line.split("\n")[0].endswith("request_id=r-1 job_id=j-1")
    finally:
        request_context.request_id.set("")
        request_context.job_id.set("")


def test_a_request_may_name_itself_if_the_name_fits_a_line() -> None:
    assert request_context.named_user("mine-1") == "mine-1"
    assert request_context.named_user("two\nlines") != "two\nlines"
    assert len(request_context.named_user("x" * 65)) == 16
