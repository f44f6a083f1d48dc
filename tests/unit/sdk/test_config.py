"""The configuration of a run as it is reported."""

from __future__ import annotations

import pytest

from heimdall_sdk.config import MAX_BYTES, MAX_NAMES, fit_config
from training.jobs import config_limits

LARGE = "\N{GRINNING FACE}" * 20_000


def test_limits_are_those_of_the_server() -> None:
    assert (MAX_BYTES, MAX_NAMES) == (
        config_limits.MAX_CONFIG_BYTES, config_limits.MAX_CONFIG_NAMES,
    )  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [{"lr": 0.1, "text": LARGE * 5, "seed": 1},
     {f"n{number}": LARGE for number in range(9)},
     {str(number): number for number in range(2500)},
     {"x" * 300_000: 1}],
)  # fmt: skip
def test_largest_values_are_left_out_until_the_server_accepts_the_rest(config: object) -> None:
    assert isinstance(config, dict)
    kept, problem = fit_config(config)
    assert config_limits.config_problem(kept) is None
    assert problem.startswith("config is larger than 2,000 names and 262,144 bytes of JSON; it is")
    assert [name for name in config if name in kept] == list(kept)


def test_left_out_names_are_listed() -> None:
    kept, problem = fit_config({"lr": 0.1, "text": "x" * 300_000, "seed": 1})
    assert kept == {"lr": 0.1, "seed": 1}
    assert problem.endswith("it is reported without text.")


def test_configuration_within_the_limits_is_kept() -> None:
    config = {"a": "x" * (MAX_BYTES - len('{"a":""}'))}
    assert fit_config(config) == (config, "")
    assert fit_config({}) == ({}, "")
