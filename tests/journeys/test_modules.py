"""JavaScript modules imported as the pages import them, compared with their Python counterparts."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from playwright.sync_api import Page

from tests.journeys.conftest import JOURNEY
from tests.unit.training.jobs.test_status import epochs
from training.jobs import progress
from training.jobs.chart_series import downsample_minmax
from training.models import Job
from training.programs.metrics import Metric
from training.programs.registry import get_program
from training.web import formatting
from training.web.charts.line_charts import sparkline
from training.web.charts.ticks import tick_formatter
from training.web.views.job_page import progress_text

pytestmark = JOURNEY
NUMBERS = [None, 0, 0.00001234, 0.5, 9.949, 12.34, 99.96, 123.4, 2344.4, 9999, 10_000, 123_456.7,
           7_654_321.0, -3.4567]  # fmt: skip
SECONDS = [0, 3.2, 9.4, 12, 54, 59, 61, 130, 3599, 3661, 5399, 7300, 90_000]

# JavaScript and Python have functions of the same meaning: formatDistance and format_distance.
FORMATTERS = {
    "formatDistance": (formatting.format_distance, NUMBERS),
    "formatNumber": (formatting.format_number, NUMBERS),
    "formatPercent": (formatting.format_percent, NUMBERS[:5]),
    "formatDuration": (formatting.format_duration, SECONDS),
    "formatEta": (formatting.format_eta, SECONDS),
    "formatRate": (formatting.format_rate, [None, 0, 0.04, 0.47, 1, 2.35, 12.3, *SECONDS]),
}


def module(tab: Page, name: str, body: str, *arguments: Any) -> Any:
    """`body` of a function of the module `m` and the arguments `a`, run in the page."""
    script = f"async a => {{ const m = await import('/static/training/{name}.js'); {body} }}"
    return tab.evaluate(script, list(arguments))


@pytest.mark.parametrize("name", FORMATTERS)
def test_page_and_server_format_numbers_alike(tab: Page, name: str) -> None:
    function, values = FORMATTERS[name]
    formatted = module(tab, "formatting", f"return a[0].map((one) => m.{name}(one));", values)
    assert formatted == json.loads(json.dumps([function(value) for value in values]))


@pytest.mark.parametrize("metric", get_program().metrics.values(), ids=attrgetter("name"))
def test_page_and_server_format_each_metric_alike(tab: Page, metric: Metric) -> None:
    script = "const format = m.formatter(a[0]); return a[1].map((one) => format(one));"
    formatted = module(tab, "formatting", script, metric.as_json(), NUMBERS)
    assert formatted == [formatting.formatter(metric)(value) for value in NUMBERS]


@pytest.mark.parametrize("name", ["val_loss", "val_rmse", "val_coverage_68"])
def test_page_and_server_format_ticks_alike(tab: Page, name: str) -> None:
    metric, ticks = get_program().metrics[name], [-2, 0, 0.05, 0.5, 20, 500, 1000, 2500, 40_000]
    script = "const format = m.tickFormatter(a[0]); return a[1].map((one) => format(one));"
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
    ],
)  # fmt: skip
def test_page_and_server_write_the_progress_alike(
    tab: Page, fields: dict[str, Any], epochs_ago: list[int]
) -> None:
    values = {"kind": "training", "total_epochs": 20, "config": {"patience": 5}, **fields}
    now = timezone.now()
    ends = [now - timedelta(seconds=seconds) for seconds in epochs_ago]
    job = Job(**values)
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


COLUMNS = "const c = new m.Columns({epoch: [], seconds: [], series: {loss: []}}, [], a[0]);"


def test_columns_stay_bounded_and_keep_their_peaks(tab: Page) -> None:
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


def test_a_logarithmic_axis_is_ticked_at_round_values(tab: Page) -> None:
    ticks = module(tab, "chart", "return a.map(([low, high]) => m.decadeTicks(low, high));",
                   [300, 60_000], [-4, 4.5], [2, 3])  # fmt: skip
    assert ticks == [[500, 1000, 2000, 5000, 10_000, 20_000, 50_000],
                     [-2, -1, 0, 1, 2], [2]]  # fmt: skip


def test_a_gap_interrupts_the_curve(tab: Page) -> None:
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
    ends = list(accumulate(epochs(130), initial=datetime(2026, 1, 1, tzinfo=UTC)))[1:]
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
