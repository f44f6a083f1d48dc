"""Template tags and filters that format values, states and icons."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString

from training.jobs import status
from training.models import Job
from training.programs.manifest import Program
from training.programs.metrics import Metric
from training.programs.registry import get_program
from training.web import formatting

register = template.Library()
register.filter("distance", lambda value: formatting.format_distance(_number(value)))
register.filter("number", lambda value, digits=4: formatting.format_number(_number(value), digits))
register.filter("percent", lambda value: formatting.format_percent(_number(value)))
register.filter("duration", lambda value: formatting.format_duration(_number(value)))
register.filter("size", formatting.format_size)
register.filter("count", lambda value: f"{value:,}" if isinstance(value, int) else value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


@register.filter
def get(mapping: dict[str, Any] | None, key: str) -> Any:
    return (mapping or {}).get(key)


@register.filter
def parameter(value: Any) -> str:
    """Format the value of a parameter; sampled floats get four significant digits."""
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else formatting.MISSING
        if value is None
        else str(value)
    )


@register.filter
def format_as(value: Any, metric: Metric) -> str:
    return formatting.formatter(metric)(_number(value))


@register.filter
def headline(job: Job) -> str:
    """The value of a job that lists show."""
    return formatting.formatter(get_program(job.program).headline_metric)(job.headline_value)


@register.simple_tag
def headline_attributes(job: Job) -> SafeString:
    """What jobs.js needs to update the cell of the headline metric."""
    metric = get_program(job.program).headline_metric
    return format_html(
        'data-field="best" data-metric="{}" data-format="{}" data-digits="{}"',
        metric.name, metric.format, metric.digits,
    )  # fmt: skip


@register.simple_tag
def headline_title(program: Program | None = None) -> SafeString:
    """The heading of the headline metric; lists mix programs and name that of the default one."""
    shown = program or get_program()
    return format_html(
        '<span title="{}">{}</span>',
        formatting.headline_help(shown),
        formatting.headline_title(shown),
    )


@register.simple_tag
def headline_label() -> str:
    return get_program().headline_metric.label


@register.simple_tag
def rate(seconds: float | None) -> SafeString:
    """The training speed; job.js renders the same."""
    return format_html("{} <small>{}</small>", *formatting.format_rate(seconds))


@register.filter
def spaced(name: str) -> str:
    return str(name).replace("_", " ")


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
    """The displayed status of a job as a colored label with an icon."""
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
