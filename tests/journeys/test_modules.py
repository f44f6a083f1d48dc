"""JavaScript modules, compared with their Python counterparts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from django.http import QueryDict
from django.utils import timezone
from playwright.sync_api import Page

from tests.journeys.conftest import JOURNEY
from tests.unit.training.jobs.test_status import ends_of, epochs
from training.jobs import progress
from training.jobs.chart_series import downsample_minmax
from training.models import Job
from training.programs.metrics import Metric
from training.programs.registry import get_program
from training.web import formatting
from training.web.charts.line_charts import sparkline
from training.web.charts.ticks import tick_formatter
from training.web.locate_form import read_form
from training.web.terminal import plain_lines
from training.web.views.job_page import progress_text

pytestmark = JOURNEY
NUMBERS = [None, 1e200, -1.5e12,
           0, 0.00001234, 0.5, 9.949, 12.34, 99.96, 123.4, 2344.4, 9999, 10_000, 123_456.7,
           7_654_321.0, -3.4567]  # fmt: skip
# At halves, at the neighbors of powers of ten, and elsewhere.
GRID = [
    sign * number * 10.0**exponent
    for exponent in range(-7, 13)
    for number in (1, 1.15, 1.25, 1.5, 2.5, 4.5, 7.35, 9.5, 9.95, 9.995, 9.9995, 9.99995, math.pi)
    for sign in (1, -1)
] + [0.0, 5e-324, 1e-300, 1e22, 1.7e308, *(whole / 8 for whole in range(1000))]
HALVES = [whole + 0.5 for whole in range(0, 90_000, 29)]
SECONDS = [0, 0.5, 3.2, 9.4, 12, 54, 59, 61, 130, 3599, 3661, 5399, 7300, 90_000]

# JavaScript and Python have functions of the same meaning: formatDistance and format_distance.
FORMATTERS: dict[str, tuple[Callable[[Any], object], Sequence[float | None]]] = {
    "formatDistance": (formatting.format_distance, [*NUMBERS, *GRID]),
    "formatNumber": (formatting.format_number, [*NUMBERS, *GRID]),
    "formatFixed": (formatting.format_fixed, GRID),
    "formatPercent": (formatting.format_percent, [*NUMBERS[:5], *GRID]),
    "formatDuration": (formatting.format_duration, SECONDS + GRID + HALVES),
    "formatEta": (formatting.format_eta, SECONDS + GRID + HALVES),
    "formatSize": (formatting.format_size, [*range(0, 12_000, 50), 1_234_567, 5 * 10**9, 10**15]),
    "formatRate": (formatting.format_rate, [None, 0, 0.04, 0.47, 1, 2.35, 12.3, *SECONDS, *GRID]),
}


def module(tab: Page, name: str, body: str, *arguments: Any) -> Any:
    """`body` of a function of the module `m` and the arguments `a`, run in the page."""
    script = f"async a => {{ const m = await import('/static/training/{name}.js'); {body} }}"
    return tab.evaluate(script, list(arguments))


@pytest.mark.parametrize("name", FORMATTERS)
def test_page_and_server_format_numbers_alike(tab: Page, name: str) -> None:
    function, values = FORMATTERS[name]
    formatted = module(tab, "formatting", f"return a[0].map((value) => m.{name}(value));", values)
    assert formatted == json.loads(json.dumps([function(value) for value in values]))


@pytest.mark.parametrize(
    "typed",
    ["-69,0", " 0,001 ", ",5", "12345,678", "1,5e-3", "\N{MINUS SIGN}70,5", "0.5", "1e-4", "7",
     "1,000", "-69,125", "1,234.5", "1.234,5", "1,2,3", "", "x", "0x10", "Infinity", "1_0"],
)  # fmt: skip
def test_page_and_server_read_typed_numbers_alike(tab: Page, typed: str) -> None:
    script = "try { return m.parseNumber(a[0]); } catch (error) { return null; }"
    readings, _ = read_form(QueryDict(urlencode({"toa_ns-0": typed})), ["hill"], ["toa_ns"])
    expected = readings[0]["toa_ns"] if readings else None
    assert module(tab, "numbers", script, typed) == expected


def test_page_and_server_show_lines_of_output_alike(tab: Page) -> None:
    lines = ["plain", "\x1b[1;31mred\x1b[0m", " 1%\r 50%\r100%\r", "\r\x1b[K", "a\x00b\tc",
             "\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "50%\r\x1b[K", ""]  # fmt: skip
    shown = module(tab, "ansi", "return a[0].map((one) => m.plainText(one));", lines)
    assert shown == [plain_lines(f"{line}\n")[0] for line in lines]


def test_colors_of_output_become_classes_and_never_markup(tab: Page) -> None:
    line = "a\x1b[1;31m<b>\x1b[39mb\x1b[0m\x1b[38;5;196mc\x1b[48;2;10;200;10md"
    found = module(tab, "ansi", "return m.parseLine(a[0]).spans;", line)
    assert [(span["text"], span["classes"]) for span in found] == [
        ("a", ""),
        ("<b>", "ansi-bold ansi-fg-1"),
        ("b", "ansi-bold"),
        ("c", "ansi-fg-9"),
        ("d", "ansi-bg-10 ansi-fg-9"),
    ]


@pytest.mark.parametrize("metric", get_program().metrics.values(), ids=attrgetter("name"))
def test_page_and_server_format_each_metric_alike(tab: Page, metric: Metric) -> None:
    script = "const format = m.formatter(a[0]); return a[1].map((value) => format(value));"
    formatted = module(tab, "formatting", script, metric.as_json(), NUMBERS)
    assert formatted == [formatting.formatter(metric)(value) for value in NUMBERS]


@pytest.mark.parametrize("name", ["val_loss", "val_rmse", "val_coverage_68"])
def test_page_and_server_format_ticks_alike(tab: Page, name: str) -> None:
    metric, ticks = get_program().metrics[name], [-2, 0, 0.05, 500, 1e5, 1e6, 2.5e-5, *GRID]
    script = "const format = m.tickFormatter(a[0]); return a[1].map((value) => format(value));"
    formatted = module(tab, "formatting", script, metric.as_json(), ticks)
    assert formatted == [tick_formatter(metric)(tick) for tick in ticks]


@pytest.mark.parametrize(
    ("fields", "epochs_ago"),
    [
        ({"status": "queued", "current_epoch": 0}, []),
        ({"status": "running", "current_epoch": 3}, [32, 21, 10]),
        ({"status": "running", "current_epoch": 3, "best_epoch": 19},
         [32, 21, 10]),
        ({"status": "running", "current_epoch": 20}, [11, 0]),
        ({"status": "paused", "current_epoch": 1200, "total_epochs": 5000,}, []),
        ({"status": "running", "total_epochs": 0, "current_epoch": 0}, []),
        ({"status": "running", "total_epochs": 0, "reported_percent": 41.5,
          "estimated_end_at": "2100-01-01T00:00:00Z"}, []),
        ({"status": "running", "total_epochs": 0, "reported_percent": 0.0}, []),
        ({"status": "running", "current_epoch": 3, "reported_percent": 12.0,
          "estimated_end_at": "2000-01-01T00:00:00Z"}, [32, 21, 10]),
    ],
)  # fmt: skip
def test_page_and_server_format_the_progress_alike(
    tab: Page, fields: dict[str, Any], epochs_ago: list[int]
) -> None:
    values = {"kind": "training", "total_epochs": 20, "config": {"patience": 5}, **fields}
    now = timezone.now()
    ends = [now - timedelta(seconds=seconds) for seconds in epochs_ago]
    job = Job(**values)
    if end := fields.get("estimated_end_at"):
        job.estimated_end_at = datetime.fromisoformat(end)
    sent_job = {**values, "progress_percent": job.progress_percent}
    script = "return m.progressText(a[0], new m.Speed(a[1]), a[2]);"
    sent = [end.isoformat() for end in ends]
    text = module(tab, "progress", script, sent_job, sent, now.timestamp() * 1000)
    assert text == progress_text(job, ends)


def test_page_and_server_draw_the_same_sparkline(tab: Page) -> None:
    for values in ([], [1.5], [3.0, 1.0, 2.0, 2.0], [5.0, 5.0], [0.1, 900.0, 12.25, 7.0]):
        path = module(tab, "sparkline", "return m.sparklinePath(a[0]);", values)
        drawn = re.search(r' d="([^"]*)"', sparkline(values, "RMSE"))
        assert _coordinates(path) == pytest.approx(_coordinates(drawn[1] if drawn else ""), abs=0.1)


def _coordinates(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"[-\d.]+", path)]


def test_page_and_server_downsample_alike(tab: Page) -> None:
    values = [[math.sin(row / 7) + (row == 77) * 9 for row in range(500)],
              [math.cos(row / 50) for row in range(500)]]  # fmt: skip
    for limit in (1000, 100, 30):
        kept = module(tab, "columns", "return m.downsampleMinMax(a[0], a[1]);", values, limit)
        assert kept == downsample_minmax(np.array(values), limit).tolist()


def test_transport_and_delay_depend_on_the_failures_in_a_row(tab: Page) -> None:
    script = "return a[0].map((n) => m.chooseTransport(n, true));"
    transports = module(tab, "live", script, list(range(8)))
    assert transports == ["socket"] * 3 + ["stream"] * 2 + ["socket", "poll", "socket"]
    delays = module(tab, "live", "return [1, 2, 3, 9].map((n) => m.retryDelay(n, () => 0.5));")
    assert delays == [250, 500, 1000, 8000]
    jitter = module(tab, "live", "return [m.retryDelay(1, () => 0), m.retryDelay(1, () => 1)];")
    assert jitter == [125, 375]


REPEATS = """
    const c = new m.SeriesColumns(["loss", "lr"], true), anchors = new m.EpochAnchors();
    const data = {
      step: [0, 0, 0, 0, 1], epoch: [null, null, null, null, null], seconds: [4, 0, 2, 3, 1],
      series: {loss: [0.5, 1, null, 0.25, 0.125], lr: [null, null, 0.1, null, null]},
      not_finite: {},
    };
    c.load(data);
"""


def test_series_with_several_values_at_a_step_show_all_of_them_by_time(tab: Page) -> None:
    result = module(
        tab,
        "series",
        REPEATS
        + """
        const [time, step] = ["time", "step"].map((axis) => c.table(axis, anchors, []));
        return [time.data[0], time.data[1], time.rows, step.data[0], step.data[1], step.data[2][0],
                step.rows, m.shareSteps(data)];""",
    )
    assert result == [
        [0, 1, 2, 3, 4], [1, 0.125, None, 0.25, 0.5], [1, 4, 2, 3, 0], [0, 1], [0.25, 0.125], 0.1,
        [3, 4], False,
    ]  # fmt: skip


def test_event_with_another_value_of_the_last_step_is_a_separate_row(tab: Page) -> None:
    result = module(
        tab,
        "series",
        """
        const c = new m.SeriesColumns(["loss"], true), anchors = new m.EpochAnchors();
        for (let at = 0; at < 5; at += 1) c.add({step: 0, seconds: at}, {loss: 1 / (at + 1)});
        c.add({step: 0, seconds: 9}, {loss: 0.2000001});
        const {data} = c.table("time", anchors, []);
        return [data[0], data[1].map((value) => Math.round(100 * value)),
                m.shareSteps({step: c.step, series: c.series})];""",
    )
    assert result == [[0, 1, 2, 3, 4], [100, 50, 33, 25, 20], True]


COLUMNS = "const c = new m.Columns({epoch: [], seconds: [], series: {loss: []}}, [], a[0]);"


def test_columns_are_bounded_and_keep_their_peaks(tab: Page) -> None:
    result = module(
        tab,
        "columns",
        COLUMNS
        + """
        for (let epoch = 1; epoch <= 5000; epoch += 1)
          c.add(epoch, {loss: epoch === 777 ? 99 : Math.sin(epoch / 50)});
        return [c.epoch.length, c.at("loss", 777), c.last, c.add(4000, {loss: 1})];""",
        200,
    )
    length, peak, last, added_again = result
    assert length <= 200
    assert (peak, last, added_again) == (99, 5000, False)


def test_logarithmic_axis_has_ticks_at_round_values(tab: Page) -> None:
    ticks = module(tab, "chart", "return a.map(([low, high]) => m.decadeTicks(low, high));",
                   [300, 60_000], [-4, 4.5], [2, 3])  # fmt: skip
    assert ticks == [[500, 1000, 2000, 5000, 10_000, 20_000, 50_000],
                     [-2, -1, 0, 1, 2], [2]]  # fmt: skip


def test_gap_interrupts_the_curve(tab: Page) -> None:
    result = module(
        tab,
        "columns",
        COLUMNS
        + """
        c.add(1, {loss: 5}); c.add(2, {loss: 4}); c.addGap(2); c.add(3, {loss: 3});
        return c.table(["loss"]);""",
        100,
    )
    assert result == [[1, 2, 2.5, 3], [5, 4, None, 3]]


def test_page_and_server_measure_the_same_speed(tab: Page) -> None:
    ends = ends_of(epochs(130))
    counts = [1, 2, 10, 50, 121, 130]
    script = """
        const grown = new m.Speed();
        return a[0].map((end, n) => {
          grown.addEpochEnd(Date.parse(end));
          const fresh = new m.Speed(a[0].slice(0, n + 1).slice(-120));
          return a[1].includes(n + 1) && [grown.secondsPerEpoch, fresh.secondsPerEpoch];
        }).filter(Boolean);"""
    measured = module(tab, "progress", script, [end.isoformat() for end in ends], counts)
    expected = [
        progress.seconds_per_epoch(ends[:count][-progress.MAX_PACE_EPOCHS :]) for count in counts
    ]
    for page, server in zip(measured, expected, strict=True):
        assert page == ([None, None] if server is None else [pytest.approx(server, abs=2e-3)] * 2)
