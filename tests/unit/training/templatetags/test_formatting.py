"""Template filters and tags, as templates use them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.template import Context, Template

from training.models import Job
from training.programs.registry import get_program
from training.templatetags.formatting import ago, headline, icon, state_pill


def render(source: str, **values: Any) -> str:
    return Template("{% load formatting %}" + source).render(Context(values))


@pytest.mark.parametrize(
    ("source", "value", "expected"),
    [
        ("{{ value|distance }}", 123.4, "123 m"),
        ("{{ value|distance }}", "123", "–"),
        ("{{ value|distance }}", None, "–"),
        ("{{ value|number }}", 0.123456, "0.1235"),
        ("{{ value|number:2 }}", 0.123456, "0.12"),
        ("{{ value|percent }}", 0.256, "25.6 %"),
        ("{{ value|duration }}", 65, "1 min 5 s"),
        ("{{ value|duration }}", float("nan"), "–"),
        ("{{ value|size }}", 1_500_000, "1.5 MB"),
        ("{{ value|count }}", 1234567, "1,234,567"),
        ("{{ value|count }}", "many", "many"),
        ("{{ value|get:'a' }}", {"a": 1}, "1"),
        ("{{ value|get:'b' }}", {"a": 1}, "None"),
        ("{{ value|get:'a' }}", None, "None"),
    ],
)
def test_template_filters_format_values(source: str, value: Any, expected: str) -> None:
    assert render(source, value=value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.000123456, "0.0001235"), (3, "3"), (None, "–"), (True, "yes"), ("mlp", "mlp")],
)
def test_parameter_filter_formats_values(value: Any, expected: str) -> None:
    assert render("{{ value|parameter }}", value=value) == expected


def test_metric_is_formatted_in_its_unit() -> None:
    metrics = get_program().metrics
    assert render("{{ v|format_as:m }}", v=12_345.0, m=metrics["val_rmse"]) == "12.35 km"
    assert render("{{ v|format_as:m }}", v=None, m=metrics["val_loss"]) == "–"


def test_headline_of_a_job_without_a_result_is_a_dash() -> None:
    assert headline(Job()) == "–"
    assert headline(Job(headline_value=123.4)) == "123 m"


def test_icon_without_text_has_a_label() -> None:
    assert 'aria-hidden="true"' in icon("pause")
    labelled = icon("pause", 'Pause "x"')
    assert 'role="img" aria-label="Pause &quot;x&quot;"' in labelled
    assert labelled.endswith('icons.svg#pause"></use></svg>')


@pytest.mark.parametrize(
    ("state", "label"), [("running", "Running"), ("interrupted", "Interrupted"), ("odd", "Odd")]
)
def test_pill_has_the_label_of_its_state(state: str, label: str) -> None:
    assert f'class="pill {state}"' in state_pill(state)
    assert f"<span>{label}</span>" in state_pill(state)


def test_pill_escapes_an_unknown_state() -> None:
    assert "<b>" not in state_pill("<b>")


def test_relative_time_has_the_exact_time_as_title() -> None:
    shown = ago(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert 'datetime="2026-01-02T03:04:05+00:00"' in shown
    assert 'title="2026-01-02 03:04:05 UTC" data-ago' in shown
    assert ago(None) == "–"


def test_rate_has_its_unit() -> None:
    assert render("{% rate value %}", value=0.5) == "2.0 <small>epochs/s</small>"
    assert render("{% rate value %}", value=90.0) == "1 min 30 s <small>per epoch</small>"
    assert render("{% rate value %}", value=None) == "– <small></small>"


def test_status_labels_are_json_for_the_scripts() -> None:
    assert render("{% status_labels %}").startswith(
        '<script id="status-labels" type="application/json">{"queued": "Queued"'
    )
