"""Charts of the resource use of a job; system_charts.js replaces and updates them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from django.utils.safestring import SafeString

from training.jobs.system_figures import SystemColumns
from training.web.charts.line_charts import comparison_chart
from training.web.formatting import format_duration, format_fixed, format_size

# system_charts.js has the same formats.
FORMATS: dict[str, Callable[[float], str]] = {
    "size": lambda value: format_size(round(value)),
    "rate": lambda value: f"{format_size(round(value))}/s",
    "percent": lambda value: f"{format_fixed(value, 0)} %",
    "temperature": lambda value: f"{format_fixed(value, 0)} °C",
    "power": lambda value: f"{format_fixed(value, 0)} W",
}
STYLES = 4  # of lines, in style.css


@dataclass(frozen=True, slots=True)
class SystemChart:
    """A chart of all series whose name matches `pattern`."""

    name: str
    title: str
    format: str
    pattern: str


@dataclass(frozen=True, slots=True)
class DrawnSystemChart:
    chart: SystemChart
    series: list[tuple[str, int]]  # label and style
    curves: SafeString


CHARTS = (
    SystemChart("processor", "Processor (100 %: one core)", "percent", "cpu_percent"),
    SystemChart("memory", "Memory", "size", "memory_(rss|pss)"),
    SystemChart("disk", "Disk", "rate", "disk_(read|write)"),
    SystemChart("network", "Network of the machine", "rate", "network_(receive|send)"),
    SystemChart("gpu-use", "GPU use", "percent", r"gpu\d+_percent"),
    SystemChart("gpu-memory", "GPU memory", "size", r"gpu\d+_memory"),
    SystemChart("gpu-temperature", "GPU temperature", "temperature", r"gpu\d+_temperature"),
    SystemChart("gpu-power", "GPU power", "power", r"gpu\d+_power"),
)


def draw_system_charts(columns: SystemColumns) -> list[DrawnSystemChart]:
    """All charts; those without series are hidden until there are any."""
    return [_draw(chart, columns) for chart in CHARTS]


def _draw(chart: SystemChart, columns: SystemColumns) -> DrawnSystemChart:
    names = [name for name in columns.series if re.fullmatch(chart.pattern, name)]
    lines = {
        f"series-{row % STYLES}": (columns.seconds, columns.series[name])
        for row, name in enumerate(names[:STYLES])
    }
    curves = comparison_chart(chart.title, lines, FORMATS[chart.format], format_duration)
    labels = [(series_label(name), row % STYLES) for row, name in enumerate(names)]
    return DrawnSystemChart(chart, labels, curves)


def series_label(name: str) -> str:
    """`memory_rss`: RSS, `disk_read`: read, `gpu0_power`: GPU 0."""
    if found := re.match(r"gpu(\d+)_", name):
        return f"GPU {found[1]}"
    last = name.rpartition("_")[2]
    return {"rss": "RSS", "pss": "PSS", "percent": "use"}.get(last, last)
