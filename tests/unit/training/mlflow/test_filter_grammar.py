"""The grammar of filters and orders, as MLflow's clients write them."""

from __future__ import annotations

import re
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.mlflow.errors import MlflowError
from training.mlflow.filter_grammar import Column, Condition, Order, parse_filter, parse_order
from training.mlflow.filter_values import is_like, matches
from training.mlflow.run_search import ATTRIBUTES


def parsed(text: str) -> list[tuple[str, str, str, object]]:
    return [
        (one.column.kind, one.column.key, one.operator, one.value)
        for one in parse_filter(text, ATTRIBUTES)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("metrics.loss < 0.5", [("metric", "loss", "<", 0.5)]),
        ("metric.`val loss`>=-1e-3", [("metric", "val loss", ">=", -0.001)]),
        ('metrics."a-b" != 1', [("metric", "a-b", "!=", 1.0)]),
        ("metrics.val.loss = 1", [("metric", "val.loss", "=", 1.0)]),
        ("params.lr = '0.1'", [("param", "lr", "=", "0.1")]),
        ("parameter.and = \"it's\"", [("param", "and", "=", "it's")]),
        ("tags.mlflow.parentRunId = 'x'", [("tag", "mlflow.parentRunId", "=", "x")]),
        ("tag.a like '%b_' and tags.c ILIKE 'D'",
         [("tag", "a", "LIKE", "%b_"), ("tag", "c", "ILIKE", "D")]),
        ("tags.a IS NULL AND params.b is not null",
         [("tag", "a", "IS NULL", None), ("param", "b", "IS NOT NULL", None)]),
        ("status = 'FINISHED'", [("attribute", "status", "=", "FINISHED")]),
        ("attributes.start_time > 1700000000000",
         [("attribute", "start_time", ">", 1.7e12)]),
        ("run_id IN ('a', 'b')", [("attribute", "run_id", "IN", ("a", "b"))]),
        ("dataset.name NOT IN ('a')", [("dataset", "name", "NOT IN", ("a",))]),
        ("attribute.`Run name` = 'a'", [("attribute", "Run name", "=", "a")]),
    ],
)  # fmt: skip
def test_filter_is_a_list_of_conditions(text: str, expected: object) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "metrics.loss", "metrics.loss <", "metrics.loss < 'a'", "params.lr = 0.1", "loss < 1",
        "metrics.loss < 1 OR metrics.loss > 2", "(metrics.loss < 1)", "params.a < 'b'",
        "metrics.a LIKE 'b'", "run_id IN ()", "run_id IN ('a'", "status IN ('RUNNING')",
        "start_time = '1'", "models.a = 'b'", "dataset.source = 'x'", "params.a = 'b", "'", ";",
        "metrics.a < 1; DROP TABLE training_job", "metrics.loss < 1 AND", "AND", "metrics. < 1",
        "end_time IS NULL", "metrics.a < 1 metrics.b < 2", " AND ".join(["metrics.a < 1"] * 51),
    ],
)  # fmt: skip
def test_invalid_filter_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(MlflowError) as error:
        parse_filter(text, ATTRIBUTES)
    assert error.value.code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("metrics.loss DESC", Order(Column("metric", "loss"), True)),
     ("start_time", Order(Column("attribute", "start_time"), False)),
     ("params.`a b` asc", Order(Column("param", "a b"), False))],
)  # fmt: skip
def test_order_is_a_column_and_a_direction(text: str, expected: Order) -> None:
    assert parse_order(text, ATTRIBUTES) == expected


@pytest.mark.parametrize(
    "text", ["", "metrics.loss UP", "loss", "metrics.a DESC ASC", "1; x", "dataset.name"]
)
def test_invalid_order_is_refused(text: str) -> None:
    with pytest.raises(MlflowError):
        parse_order(text, ATTRIBUTES)


@settings(max_examples=2000, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from([
                "metrics", ".", "a", "`b c`", "<", "=", "1", "'x'", " AND ", "IN", "(", ")", ",",
                "params", "LIKE", "IS", "NOT", "NULL", "run_id", "tags", " ", "-1e3", '"', "status",
            ]),
            max_size=12,
        ).map(" ".join),
    )
)  # fmt: skip
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    with suppress(MlflowError):
        parse_filter(text, ATTRIBUTES)


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [("abc", "a%", True), ("abc", "%c", True), ("abc", "a_c", True), ("abc", "a_", False),
     ("abc", "", False), ("", "%", True), ("a.c", "a.c", True), ("axc", "a.c", False),
     ("aaab", "%a%b", True), ("ab", "%a_b%", False), ("a\nb", "a%b", True)],
)  # fmt: skip
def test_like_has_the_wildcards_of_sql(text: str, pattern: str, expected: bool) -> None:
    assert is_like(text, pattern) is expected


def test_missing_value_matches_only_is_null() -> None:
    column = Column("tag", "a")
    assert matches(Condition(column, "IS NULL", None), None)
    assert not matches(Condition(column, "!=", "x"), None)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [("a" * 100_000, "%" + "a" * 900 + "b"), ("a" * 100_000, "%a_" + "a" * 900 + "b%"),
     ("ab" * 50_000, "%ab" * 300 + "c")],
)  # fmt: skip
def test_like_is_fast_for_any_text(text: str, pattern: str) -> None:
    """A comparison of each character with each character would take many seconds."""
    started = time.process_time()
    assert not is_like(text, pattern)
    assert is_like(text, pattern[:-1].removesuffix("b") + "%")
    assert time.process_time() - started < 2


@given(st.text("ab\n", max_size=8), st.text("ab\n_%", max_size=8))
def test_like_is_that_of_a_regular_expression(text: str, pattern: str) -> None:
    symbols = {"%": ".*", "_": "."}
    regex = "".join(symbols.get(symbol, re.escape(symbol)) for symbol in pattern)
    assert is_like(text, pattern) == bool(re.fullmatch(regex, text, re.DOTALL))


@pytest.mark.parametrize("operator", ["LIKE", "ILIKE"])
def test_long_pattern_is_refused(operator: str) -> None:
    assert parse_filter(f"tags.a {operator} '{'%' * 1000}'", ATTRIBUTES)
    with pytest.raises(MlflowError, match="has 1,001 characters; use at most 1,000"):
        parse_filter(f"tags.a {operator} '{'%' * 1001}'", ATTRIBUTES)
