from __future__ import annotations

import logging

import pytest

from realtime.outage_log import OutageLog


def test_start_and_end_of_an_outage_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    outage = OutageLog(logging.getLogger("test"), failure="down: %s", recovery="up")
    outage.record_success()
    for number in range(3):
        outage.record_failure(OSError(number))
        assert outage.ongoing
    for _ in range(2):
        outage.record_success()
        assert not outage.ongoing
    assert caplog.messages == ["down: OSError(0)", "up"]


def test_traceback_is_logged_on_request(caplog: pytest.LogCaptureFixture) -> None:
    outage = OutageLog(logging.getLogger("test"), "down: %s", "up", traceback=True)
    try:
        raise ValueError("a defect")
    except ValueError as error:
        outage.record_failure(error)
    assert "Traceback" in caplog.text
