from __future__ import annotations

import pytest

from heimdall.email_url import parse_email_url
from tests.unit.heimdall.test_env import read_problem


def test_smtp_url_is_taken_apart_with_escapes() -> None:
    found = parse_email_url("smtps://ada%40example.org:p%23s%2F@mail.example.org")
    assert (found.host, found.port, found.use_ssl, found.use_tls) == (
        "mail.example.org", 465, True, False,
    )  # fmt: skip
    assert (found.user, found.password) == ("ada@example.org", "p#s/")
    assert found.sender == "ada@example.org"


def test_smtp_url_with_starttls_and_sender_is_parsed() -> None:
    found = parse_email_url("smtp+tls://u:p@h:2525?from=Heimdall%20<h@example.org>")
    assert (found.port, found.use_ssl, found.use_tls) == (2525, False, True)
    assert found.sender == "Heimdall <h@example.org>"


def test_file_and_console_email_urls_are_parsed() -> None:
    assert parse_email_url("file:///tmp/a%20b").folder == "/tmp/a b"
    assert parse_email_url("console://").backend.endswith("console.EmailBackend")


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.org", "http://u:geheim@h", "smtp://", "smtp://u:geheim@", "smtp://h:port",
        "smtp://h:0", "smtp://h:99999", "smtp://h/path", "smtp://u:geheim@h#x", "smtp://u@h",
        "smtp://h?from=nobody", "smtp://h?frm=a@b", "file://relative", "file:", "smtp://[::1",
    ],
)  # fmt: skip
def test_invalid_url_is_a_problem_without_its_password(url: str) -> None:
    problem = read_problem(EMAIL_URL=url)
    assert problem.id == "heimdall.E020"
    assert problem.message.startswith("EMAIL_URL=")
    assert "geheim" not in problem.message
    assert "smtps://USER:PASSWORD@HOST:465" in problem.hint
