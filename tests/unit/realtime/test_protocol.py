from __future__ import annotations

import json
from uuid import UUID

import pytest

from realtime import protocol
from realtime.protocol import Cursor, InvalidFrameError, Ping, Subscribe, Unsubscribe

JOB = UUID("0a3f9d5e-8f0e-4c9d-9d83-0d6b7c1f2a3b")


def test_valid_actions_are_parsed() -> None:
    assert protocol.parse('{"action": "ping"}') == Ping()
    subscribe = json.dumps({"action": "subscribe", "job_id": str(JOB), "after": 4})
    assert protocol.parse(subscribe) == Subscribe(JOB, Cursor(4))
    unsubscribe = json.dumps({"action": "unsubscribe", "job_id": str(JOB)})
    assert protocol.parse(unsubscribe) == Unsubscribe(JOB)


@pytest.mark.parametrize(
    ("frame", "code", "words"),
    [
        (None, "not_json", "one JSON object"),
        ("hello", "not_json", "one JSON object"),
        ("[1]", "not_json", "one JSON object"),
        ("[" * 50_000, "not_json", "one JSON object"),
        ("{}", "unknown_action", "Unknown action None"),
        ('{"action": "dance"}', "unknown_action", "use ping, subscribe or unsubscribe"),
        ('{"action": "subscribe"}', "bad_job_id", "job_id is missing"),
        ('{"action": "subscribe", "job_id": 7}', "bad_job_id", "job_id must be a UUID, not 7"),
        (
            json.dumps({"action": "subscribe", "job_id": str(JOB), "after": -1}),
            "bad_after",
            "after must be an integer of at least 0, not -1",
        ),
        (
            f'{{"action": "subscribe", "job_id": "{JOB}", "after": 1e999}}',
            "bad_after",
            "after must be an integer of at least 0, not inf",
        ),
    ],
)
def test_invalid_frame_raises_with_code_and_message(
    frame: str | None, code: str, words: str
) -> None:
    with pytest.raises(InvalidFrameError, match=words) as refused:
        protocol.parse(frame)
    assert refused.value.code == code


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", 1.0, float("inf"), "9" * 5000, True, None])
def test_cursor_rejects_other_values_than_integers(value: object) -> None:
    with pytest.raises(InvalidFrameError):
        protocol.cursor(value)


def test_connected_frame_has_the_latest_seq() -> None:
    assert json.loads(protocol.connected(JOB, 3)) == {
        "event": "connected",
        "data": {"job_id": str(JOB), "seq": 3},
    }
