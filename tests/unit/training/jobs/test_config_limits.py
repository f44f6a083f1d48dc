"""Limits of a job's configuration."""

from __future__ import annotations

from training.jobs.config_limits import config_problem


def test_names_and_bytes_are_limited() -> None:
    names = {str(number): 0 for number in range(2000)}
    assert config_problem(names) is None
    assert config_problem({**names, "more": 0}) == (
        "The configuration has 2,001 names; the limit is 2,000 names."
    )
    assert config_problem({"a": "x" * 255_992}) is None
    assert config_problem({"a": "x" * 255_993}) == (
        "The configuration has 256,001 bytes; the limit is 256,000 bytes."
    )
