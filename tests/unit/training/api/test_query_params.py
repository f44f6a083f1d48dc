from __future__ import annotations

import json
from typing import Any

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from training.api import query_params
from training.api.parsers import BoundedJSONParser
from training.validation import InvalidInputError, shown_value


def request(query: str = "", **headers: str) -> Request:
    return Request(APIRequestFactory().get(f"/?{query}", headers=headers))


@pytest.mark.parametrize(
    ("query", "value"), [("", 7), ("n=0", 0), ("n=12", 12), ("n=2147483647", 2**31 - 1)]
)
def test_integer_query_parameter_is_parsed_or_the_default(query: str, value: int) -> None:
    assert query_params.integer(request(query), "n", 7) == value


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "²", "2147483648", "9" * 5000, "+1", " 1"])
def test_integer_out_of_range_is_reported_with_its_value(text: str) -> None:
    asked = Request(APIRequestFactory().get("/", {"n": text}))
    with pytest.raises(InvalidInputError) as refused:
        query_params.integer(asked, "n", 7)
    sentence = f"{shown_value(text)} is not a whole number from 0 to 2147483647."
    assert refused.value.errors == {"n": [sentence]}


@pytest.mark.parametrize(
    ("header", "expected"),
    [("5", 5), ("99999999999", 2**31 - 1), ("", 3), ("x", 3), ("-1", 3), ("²", 3)],
)
def test_last_event_id_takes_precedence_if_it_is_a_number(header: str, expected: int) -> None:
    asked = request("after=3", **{"Last-Event-ID": header})
    assert query_params.last_event_id(asked) == expected


@pytest.mark.parametrize(
    ("query", "known", "expected"),
    [
        ("", ["a", "b"], ["a", "b"]),
        ("series=b,a,b", ["a", "b"], ["b", "a"]),
        ("series=,", ["a"], ["a"]),
        ("series=later", [], ["later"]),
    ],
)
def test_requested_series_are_parsed(query: str, known: list[str], expected: list[str]) -> None:
    assert query_params.requested_series(request(query), known) == expected


def test_unknown_series_are_listed_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError) as refused:
        query_params.requested_series(request("series=x,a,y"), ["a", "b"])
    assert refused.value.errors["series"] == [
        "Unknown series 'x'; choose from a, b.",
        "Unknown series 'y'; choose from a, b.",
    ]


@pytest.mark.parametrize("data", [[1], "text", None, 5])
def test_body_must_be_an_object(data: Any) -> None:
    sent = APIRequestFactory().post("/", json.dumps(data), content_type="application/json")
    asked = Request(sent, parsers=[BoundedJSONParser()])
    with pytest.raises(InvalidInputError, match="The body must be a JSON object"):
        query_params.json_object(asked)


def test_overlong_last_event_id_counts_as_the_newest_event() -> None:
    asked = request(**{"Last-Event-ID": "9" * 5000})
    assert query_params.last_event_id(asked) == query_params.MAX_INTEGER
