"""Parts of the command `heimdall` that need no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heimdall_sdk.cli import formatting
from heimdall_sdk.cli.credentials import (
    Credentials,
    load_credentials,
    store_credentials,
)
from heimdall_sdk.cli.errors import CommandError, UsageError
from heimdall_sdk.cli.event_stream import ServerSentEvent, parse
from heimdall_sdk.cli.main import main
from heimdall_sdk.cli.parameters import parse_parameters

SCHEMA: dict[str, Any] = {
    "$defs": {"Kind": {"enum": ["a", "b"]}},
    "properties": {
        "epochs": {"type": "integer"},
        "rate": {"type": "number"},
        "flag": {"type": "boolean"},
        "kind": {"$ref": "#/$defs/Kind"},
        "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "text": {"anyOf": [{"type": "string"}, {"type": "number"}]},
        "sizes": {"type": "array"},
        "only": {"const": 3},
    },
}


@pytest.mark.parametrize(
    ("assignment", "value"),
    [("epochs=12", 12), ("epochs=1e3", 1000), ("epochs=9007199254740993", 9007199254740993),
     ("rate=1e-3", 0.001), ("flag=True", True), ("kind=b", "b"), ("limit=null", None),
     ("limit=4", 4), ("text=4", 4.0), ("text=four=4", "four=4"), ("sizes=[1, 2]", [1, 2]),
     ("only=3", 3)],
)  # fmt: skip
def test_parameter_has_the_type_of_its_schema(assignment: str, value: object) -> None:
    (found,) = parse_parameters([assignment], "p", SCHEMA).values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [("epochs=1.5", "epochs='1.5' is not a whole number."),
     ("kind=c", "kind='c' is not one of a, b."), ("flag=maybe", "not true or false"),
     ("limit=x", "not a whole number or null"), ("sizes={}", "not a JSON list"),
     ("rte=1", "did you mean 'rate'?"), ("epochs", "is not NAME=VALUE")],
)  # fmt: skip
def test_invalid_parameter_gets_a_sentence(assignment: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence.replace("?", r"\?")):
        parse_parameters([assignment], "p", SCHEMA)


def test_server_sent_events_are_parsed() -> None:
    stream = b"retry: 1000\nevent: pulse\ndata:\n\nid: 7\ndata: a\ndata: b\n\n: note\ndata: c\n\n"
    assert list(parse(stream.splitlines(keepends=True))) == [
        ServerSentEvent("pulse", ""), ServerSentEvent("", "a\nb", "7"), ServerSentEvent("", "c"),
    ]  # fmt: skip


def test_truncated_event_is_not_read() -> None:
    stream = b"id: 1\ndata: a\n\nid: 2\ndata: b\n"
    assert list(parse(stream.splitlines(keepends=True))) == [ServerSentEvent("", "a", "1")]


def test_stored_token_is_not_sent_to_another_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("HEIMDALL_TOKEN", raising=False)
    monkeypatch.delenv("HEIMDALL_URL", raising=False)
    store_credentials(Credentials("http://a:1", "secret"))
    assert load_credentials() == Credentials("http://a:1", "secret")
    monkeypatch.setenv("HEIMDALL_URL", "http://b:1")
    with pytest.raises(CommandError, match="heimdall login http://b:1"):
        load_credentials()
    monkeypatch.setenv("HEIMDALL_TOKEN", "other")
    assert load_credentials() == Credentials("http://b:1", "other")


def test_damaged_credentials_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("HEIMDALL_URL", raising=False)
    path = store_credentials(Credentials("http://a:1", "secret"))
    path.write_text("{")
    with pytest.raises(CommandError, match=r"credentials\.json cannot be read"):
        load_credentials()


def test_wrong_usage_has_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["nonsense"], ["watch"], ["export", "1", "--format", "xml"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
    assert "usage: heimdall" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (99, "99 s"), (300, "5 min"), (7200, "2 h"), (2e5, "2 d")]
)
def test_duration_has_one_unit(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text
