"""Template tags and filters that format values, states and icons."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString

from training.jobs import status
from training.jobs.objective import headline_metric
from training.jobs.reference_errors import baseline_title
from training.models import Job
from training.programs.metrics import Metric
from training.programs.registry import describe_program, get_program
from training.web import create_once, formatting

register = template.Library()
register.filter("distance", lambda value: formatting.format_distance(_number(value)))
register.filter("number", lambda value, digits=4: formatting.format_number(_number(value), digits))
register.filter("percent", lambda value: formatting.format_percent(_number(value)))
register.filter("duration", lambda value: formatting.format_duration(_number(value)))
register.filter("parameter", formatting.format_parameter)
register.filter("area", formatting.format_area)
register.filter("size", formatting.format_size)
register.filter("baseline_title", baseline_title)
register.filter("count", lambda value: f"{value:,}" if isinstance(value, int) else value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


@register.filter
def get(mapping: Mapping[str, float | None] | None, key: str) -> float | None:
    return (mapping or {}).get(key)


@register.filter
def format_as(value: Any, metric: Metric) -> str:
    return formatting.formatter(metric)(_number(value))


@register.filter
def headline(job: Job) -> str:
    return formatting.formatter(headline_metric(job))(job.headline_value)


@register.filter
def program_title(job: Job) -> str:
    return describe_program(job.program).title


@register.filter
def headline_label(job: Job) -> str:
    """The name of the headline metric, where a list mixes programs."""
    return headline_metric(job).label if job.headline_value is not None else ""


@register.simple_tag
def headline_attributes(job: Job) -> SafeString:
    """What jobs.js needs to update the cell of the headline metric."""
    metric = headline_metric(job)
    return format_html(
        'data-field="best" data-metric="{}" data-format="{}" data-digits="{}" data-label="{}" '
        'title="{}"',
        metric.name, metric.format, metric.digits, metric.label, metric.title,
    )  # fmt: skip


@register.simple_tag
def headline_title() -> SafeString:
    """The heading of the headline metric of the default program, for lists that have no other."""
    shown = get_program()
    return format_html(
        '<span title="{}">{}</span>',
        formatting.headline_help(shown),
        formatting.short_headline_title(shown),
    )


@register.simple_tag
def rate(seconds: float | None) -> SafeString:
    """The training speed; job.js renders the same."""
    return format_html("{} <small>{}</small>", *formatting.format_rate(seconds))


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """An icon of icons.svg; pass `label` if no text accompanies it."""
    sheet = static("training/icons.svg")
    if label:
        html = '<svg class="icon" role="img" aria-label="{}"><use href="{}#{}"></use></svg>'
        return format_html(html, label, sheet, name)
    html = '<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>'
    return format_html(html, sheet, name)


@register.simple_tag
def pill(job: Job) -> SafeString:
    return state_pill(job.display_status)


def state_pill(state: str) -> SafeString:
    return format_html(
        '<span class="pill {}" data-field="state">{}<span>{}</span></span>',
        state,
        icon(state),
        status.STATUS_LABELS.get(state, state.capitalize()),
    )


@register.simple_tag
def status_labels() -> SafeString:
    """The labels as JSON, for the scripts that update pills (page.js)."""
    return json_script(status.STATUS_LABELS, "status-labels")


@register.simple_tag
def idempotency_key() -> SafeString:
    """For each form that creates something (`training.web.create_once`)."""
    return format_html('<input type="hidden" name="{}" value="{}">', create_once.FIELD, uuid4().hex)


@register.simple_tag
def named_pill(state: str) -> SafeString:
    return state_pill(str(state))


@register.simple_tag
def ago(then: datetime | None) -> SafeString:
    """A relative time that the page's script keeps up to date."""
    if then is None:
        return format_html("{}", formatting.MISSING)
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        then.isoformat(),
        f"{then:%Y-%m-%d %H:%M:%S} UTC",
        formatting.format_age(then, timezone.now()),
    )
