"""The page's own logic, imported as the page imports it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.journeys.conftest import JOURNEY
from tests.unit.training.jobs.test_status import epochs
from training.jobs import progress
from training.web import formatting

pytestmark = JOURNEY
NUMBERS = [None, 0, 0.00001234, 0.5, 9.949, 12.34, 99.96, 123.4, 2344.4, 9999, 10_000, 123_456.7,
           7_654_321.0, -3.4567]  # fmt: skip
SECONDS = [0, 3.2, 9.4, 12, 54, 59, 61, 130, 3599, 3661, 5399, 7300, 90_000]

# By the name of the function in formatting.js.
SERVER_NAMES = {
    "metres": "format_distance",
    "figure": "format_number",
    "percent": "format_percent",
    "duration": "format_duration",
    "about": "format_eta",
    "rate": "format_rate",
}


def module(tab: Page, name: str, body: str, *arguments: Any) -> Any:
    """`body` of a function of the module `m` and the arguments `a`, run in the page."""
    script = f"async a => {{ const m = await import('/static/training/{name}.js'); {body} }}"
    return tab.evaluate(script, list(arguments))


@pytest.mark.parametrize(
    ("name", "values"),
    [("metres", NUMBERS), ("figure", NUMBERS), ("percent", NUMBERS[:5]), ("duration", SECONDS),
     ("about", SECONDS), ("rate", [None, 0, 0.04, 0.47, 1, 2.35, 12.3, *SECONDS])],
)  # fmt: skip
def test_page_and_server_say_numbers_in_the_same_words(
    tab: Page, name: str, values: list[Any]
) -> None:
    said = module(tab, "formatting", f"return a[0].map((one) => m.{name}(one));", values)
    assert said == json.loads(
        json.dumps([getattr(formatting, SERVER_NAMES[name])(value) for value in values])
    )


def test_a_line_that_fails_thrice_takes_another_way(tab: Page) -> None:
    ways = module(tab, "live", "return [0, 1, 2, 3, 4, 5, 6, 7].map((n) => m.way(n, true));")
    assert ways == ["socket"] * 3 + ["stream"] * 2 + ["socket", "ask", "socket"]
    pauses = module(tab, "live", "return [1, 2, 3, 9].map((n) => m.pause(n, () => 0.5));")
    assert pauses == [250, 500, 1000, 8000]
    spread = module(tab, "live", "return [m.pause(1, () => 0), m.pause(1, () => 1)];")
    assert spread == [125, 375]


COLUMNS = "const c = new m.Columns({epoch: [], seconds: [], series: {loss: []}}, [], a[0]);"


def test_columns_stay_bounded_and_keep_their_peaks(tab: Page) -> None:
    told = module(
        tab,
        "columns",
        COLUMNS
        + """
        for (let epoch = 1; epoch <= 5000; epoch += 1)
          c.add(epoch, {loss: epoch === 777 ? 99 : Math.sin(epoch / 50)});
        return [c.epoch.length, c.at("loss", 777), c.last, c.add(4000, {loss: 1})];""",
        200,
    )
    length, peak, last, doubled = told
    assert length <= 200
    assert (peak, last, doubled) == (99, 5000, False)


def test_a_logarithmic_axis_is_ticked_at_round_values(tab: Page) -> None:
    ticks = module(tab, "chart", "return a.map(([low, high]) => m.decades(low, high));",
                   [300, 60_000], [-4, 4.5], [2, 3])  # fmt: skip
    assert ticks == [[500, 1000, 2000, 5000, 10_000, 20_000, 50_000],
                     [-2, -1, 0, 1, 2], [2]]  # fmt: skip


def test_a_rest_lifts_the_pen(tab: Page) -> None:
    told = module(
        tab,
        "columns",
        COLUMNS
        + """
        c.add(1, {loss: 5}); c.add(2, {loss: 4}); c.rest(2); c.add(3, {loss: 3});
        return c.table(["loss"]);""",
        100,
    )
    assert told == [[1, 2, 2.5, 3], [5, 4, None, 3]]


def test_page_and_server_reckon_the_same_pace(tab: Page) -> None:
    ends = list(accumulate(epochs(130), initial=datetime(2026, 1, 1, tzinfo=UTC)))[1:]
    counts = [1, 2, 10, 50, 121, 130]
    script = """
        const grown = new m.Pace();
        return a[0].map((end, n) => {
          grown.add(Date.parse(end));
          return a[1].includes(n + 1) && [grown.each, new m.Pace(a[0].slice(0, n + 1).slice(-120)).each];
        }).filter(Boolean);"""  # noqa: E501
    said = module(tab, "pace", script, [end.isoformat() for end in ends], counts)
    reckoned = [
        progress.seconds_per_epoch(ends[:count][-progress.MAX_PACE_EPOCHS :]) for count in counts
    ]
    for each, server in zip(said, reckoned, strict=True):
        assert each == ([None, None] if server is None else [pytest.approx(server, abs=2e-3)] * 2)
