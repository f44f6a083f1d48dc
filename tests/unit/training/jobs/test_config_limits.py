"""The largest configuration of a job."""

from __future__ import annotations

from training.jobs.config_limits import MAX_CONFIG_BYTES, MAX_CONFIG_NAMES, config_problem


def test_configuration_may_be_as_large_as_the_limits() -> None:
    overhead = len(b'{"a":""}')
    assert config_problem({"a": "x" * (MAX_CONFIG_BYTES - overhead)}) is None
    assert config_problem({str(number): 1 for number in range(MAX_CONFIG_NAMES)}) is None


def test_larger_configuration_is_refused_with_the_limit_and_its_size() -> None:
    text = "\N{GRINNING FACE}" * (MAX_CONFIG_BYTES // 4)
    assert config_problem({"a": text}) == (
        "The configuration has 262,152 bytes as JSON, and the limit is 262,144."
    )
    assert config_problem({str(number): 1 for number in range(2001)}) == (
        "The configuration has 2,001 names, and the limit is 2,000."
    )
