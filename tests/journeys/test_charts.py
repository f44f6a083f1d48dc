"""Charts of metrics of any shape, reported over HTTP while the page is open."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import person
from tests.journeys.test_accessibility import check_page
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
BATCHES = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("charts")) as stack:
        yield stack


@pytest.fixture
def tab(chromium: Browser, server: Stack) -> Iterator[Page]:
    with person(chromium, server) as page:
        yield page


def register(stack: Stack, **fields: Any) -> str:
    with stack.api() as api:
        answer = api.post("/reports", json={"name": "Elsewhere", **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def report(stack: Stack, job: str, *points: dict[str, Any]) -> None:
    body = {"batch": f"c-{next(BATCHES)}", "points": points}
    with stack.api() as api:
        answer = api.post(f"/reports/{job}/points", json=body)
    assert answer.status_code == 200, answer.text


def point(step: int, epoch: int | None = None, **values: Any) -> dict[str, Any]:
    found = {"step": step, "time": 1e9 + step, "values": values}
    return found if epoch is None else {**found, "epoch": epoch}


def open_job(tab: Page, stack: Stack, job: str, query: str = "") -> None:
    tab.goto(f"{stack.url}/jobs/{job}{query}")
    tab.evaluate("window.untouched = true")


def chart(tab: Page, title: str) -> Any:
    return tab.get_by_role("region", name=title, exact=True)


def test_charts_of_a_job_without_epochs_appear_and_grow_live(tab: Page, server: Stack) -> None:
    job = register(server)
    open_job(tab, server, job)
    expect(tab.locator("#charts")).to_contain_text("Waiting for the first metric…")
    expect(tab.locator("#live")).to_contain_text("Live")
    report(server, job, *(point(step, **{"train/loss": 5 - step}) for step in range(3)))
    expect(chart(tab, "Train/loss").locator("canvas")).to_be_visible()
    expect(chart(tab, "Train/loss").locator(".reading")).to_have_text("3.000")
    expect(tab.locator("#charts")).not_to_contain_text("Waiting for the first metric…")
    for step in range(3, 6):
        report(server, job, point(step, **{"train/loss": 5 - step}))
        time.sleep(0.15)
    expect(chart(tab, "Train/loss").locator(".reading")).to_have_text("0")
    report(server, job, point(6, **{"val/loss": 7, "system/gpu": 40}))
    shared = chart(tab, "Loss").locator(".reading")
    expect(shared).to_have_text(["0", "7.000"])
    expect(chart(tab, "Train/loss")).to_have_count(0)
    expect(tab.locator("#charts summary")).to_have_text("system")
    expect(chart(tab, "System/gpu").locator(".reading")).to_have_text("40.00")
    assert tab.evaluate("window.untouched") is True


def test_first_epoch_of_an_open_job_adds_its_table(tab: Page, server: Stack) -> None:
    job = register(server, total_epochs=3, objective={"metric": "loss"})
    open_job(tab, server, job)
    expect(tab.locator("#live")).to_contain_text("Live")
    for epoch in (1, 2):
        report(server, job, point(10 * epoch, epoch, loss=1 / epoch, accuracy=epoch / 4))
        time.sleep(0.15)
    expect(tab.locator("#epochs tbody tr")).to_have_count(2)
    expect(tab.locator("#epochs thead")).to_contain_text("Accuracy")
    expect(tab.locator("#best")).to_have_text("0.5000")
    expect(tab.locator("#charts h2")).to_have_text(["Loss", "Accuracy"])
    expect(chart(tab, "Accuracy").locator("canvas")).to_be_visible()
    assert tab.evaluate("window.untouched") is True


def test_reset_button_of_a_zoomed_chart_names_newer_data(tab: Page, server: Stack) -> None:
    job = register(server, total_epochs=9)
    report(server, job, *(point(epoch, epoch, loss=1 / epoch) for epoch in range(1, 6)))
    open_job(tab, server, job)
    expect(tab.locator("#live")).to_contain_text("Live")
    drawn = tab.locator("#charts [role=img]").first
    drawn.focus()
    tab.keyboard.press("+")
    reset = tab.locator("#reset-zoom")
    expect(reset).to_have_text("Reset zoom")
    report(server, job, point(6, 6, loss=0.1))
    expect(reset).to_have_text("Reset zoom (newer data)")
    reset.click()
    expect(reset).to_be_hidden()
    report(server, job, point(7, 7, loss=0.2))
    drawn.focus()
    tab.keyboard.press("+")
    expect(reset).to_have_text("Reset zoom")


def test_best_values_of_an_open_page_follow_each_epoch(tab: Page, server: Stack) -> None:
    """They were refreshed every 15 s at most, so the last value could be better than the best."""
    job = register(server, total_epochs=9, objective={"metric": "loss"})
    report(server, job, point(1, 1, loss=3.0, other=9.0))
    open_job(tab, server, job)
    expect(tab.locator("#live")).to_contain_text("Live")
    for epoch, loss, other in ((2, 2.0, 8.0), (3, 1.5, 7.0), (4, 1.8, 6.0)):
        report(server, job, point(epoch, epoch, loss=loss, other=other))
        time.sleep(0.15)
    values = tab.locator("#metric-summary tr:has([data-best=loss]) td")
    expect(values).to_have_text(["1.800", "1.500", "epoch 3", "1.500"], timeout=5000)
    others = tab.locator("#metric-summary tr:has([data-best=other]) td")
    expect(others.last).to_have_text("7.000")
    expect(tab.locator("#metric-summary thead")).to_contain_text("At best epoch (3)")
    shown = tab.locator("#metric-summary").inner_text()
    tab.reload()
    expect(values.first).to_have_text("1.800")
    assert tab.locator("#metric-summary").inner_text() == shown


def test_axis_of_all_charts_is_in_the_address_and_stored(tab: Page, server: Stack) -> None:
    job = register(server)
    report(
        server,
        job,
        *(point(step, loss=1 / (step + 1)) for step in range(100)),
        *(point(step, step // 50 + 1, val_acc=step) for step in (49, 99)),
    )
    open_job(tab, server, job)
    drawn = tab.locator("#charts [role=img]")
    expect(drawn).to_have_count(2)
    expect(drawn.first).to_have_attribute("aria-label", re.compile("^Loss by step"))
    axis = tab.get_by_role("group", name="Horizontal axis")
    axis.get_by_role("radio", name="Step").focus()
    tab.keyboard.press("ArrowRight")
    expect(axis.get_by_role("radio", name="Epoch")).to_be_checked()
    expect(drawn.first).to_have_attribute("aria-label", re.compile("^Loss by epoch"))
    assert tab.url.endswith("?x=epoch")
    tab.keyboard.press("ArrowRight")
    expect(drawn.last).to_have_attribute("aria-label", re.compile("by time"))
    open_job(tab, server, job)
    expect(axis.get_by_role("radio", name="Time")).to_be_checked()
    open_job(tab, server, job, "?x=step")
    expect(axis.get_by_role("radio", name="Step")).to_be_checked()


def test_many_charts_are_grouped_searched_and_drawn_in_view(tab: Page, server: Stack) -> None:
    job = register(server, objective={"metric": "loss"})
    names = [f"layer{number}/grad" for number in range(3)]
    names += [f"system/gpu{number}" for number in range(60)]
    report(
        server, job, *(point(step, loss=step, **dict.fromkeys(names, step)) for step in range(5))
    )
    open_job(tab, server, job)
    expect(tab.locator("#charts summary h2")).to_have_text(["layer0", "layer1", "layer2", "system"])
    expect(tab.locator("#charts .panel h2").first).to_have_text("Loss")
    assert tab.locator("#charts canvas").count() < 20
    expect(chart(tab, "System/gpu40")).to_have_count(0)
    tab.get_by_label("Search charts").fill("SYSTEM gpu40")
    expect(tab.locator("#chart-matches")).to_have_text("1 of 64 charts")
    expect(chart(tab, "System/gpu40").locator("canvas")).to_be_visible()
    expect(chart(tab, "Loss")).to_be_hidden()
    tab.get_by_label("Search charts").fill("")
    expect(chart(tab, "Loss")).to_be_visible()
    tab.locator("#charts summary", has_text="layer1").press("Enter")
    expect(chart(tab, "Layer1/grad")).to_be_hidden()
    tab.reload()
    expect(chart(tab, "Layer0/grad").locator("canvas")).to_be_visible()
    expect(chart(tab, "Layer1/grad")).to_be_hidden()
    for _ in range(40):
        tab.mouse.wheel(0, 800)
        tab.wait_for_timeout(30)
    expect(chart(tab, "System/gpu59").locator(".reading")).to_have_text("4.000")


def test_non_finite_values_interrupt_the_curve_and_are_labelled(tab: Page, server: Stack) -> None:
    job = register(server)
    values: list[Any] = [1.0, 2.0, "NaN", 3.0, "Infinity"]
    report(server, job, *(point(step, loss=value) for step, value in enumerate(values)))
    open_job(tab, server, job)
    expect(tab.locator(".not-finite")).to_have_text("NaN at step 2, Infinity at step 4")
    expect(chart(tab, "Loss").locator(".reading")).to_have_text("–")
    report(server, job, point(5, loss="NaN", acc=1.0))
    expect(tab.locator(".not-finite")).to_contain_text("not finite at step 5")
    expect(chart(tab, "Acc").locator(".reading")).to_have_text("1.000")


def test_failed_job_shows_no_waiting_reason(tab: Page, server: Stack) -> None:
    jobs = [register(server), register(server, total_epochs=3, objective={"metric": "loss"})]
    for job in jobs:
        open_job(tab, server, job)
        expect(tab.locator("#charts")).to_contain_text("Waiting for the first")
        expect(tab.locator("#live")).to_contain_text("Live")
        with server.api() as api:
            api.post(f"/reports/{job}/finish", json={"status": "failed"})
        expect(tab.locator("#pill")).to_have_text("Failed")
        expect(tab.locator("#charts")).not_to_contain_text("Waiting for the first")
        assert tab.evaluate("window.untouched") is True


EXTREMES = [1.7976931348623157e308, -1.7976931348623157e308, 1e200, 5e-324, -5e-324, 0.0]


@pytest.mark.parametrize(
    "values", [EXTREMES, [1e14] * 6, [1e-300] * 6, [5e-324] * 6, [-1.0, 1.0] * 3], ids=str
)
def test_largest_smallest_and_flat_values_are_drawn(
    tab: Page, server: Stack, values: list[float]
) -> None:
    job = register(server)
    report(server, job, *(point(step, loss=value) for step, value in enumerate(values)))
    open_job(tab, server, job)
    expect(chart(tab, "Loss").locator("canvas")).to_be_visible()
    button = chart(tab, "Loss").get_by_role("button", name="log")
    for pressed in ("true", "false"):
        button.click()
        expect(button).to_have_attribute("aria-pressed", pressed)
    expect(chart(tab, "Loss").locator(".reading")).not_to_have_text(re.compile("NaN|Infinity"))


def test_pointer_shows_values_and_a_drag_zooms_all_charts(tab: Page, server: Stack) -> None:
    job = register(server)
    report(server, job, *(point(step, step // 10, loss=step, acc=-step) for step in range(101)))
    open_job(tab, server, job, "?x=step")
    plots = tab.locator("#charts .u-over")
    expect(plots).to_have_count(2)
    box = plots.first.bounding_box() or pytest.fail("no chart")
    middle = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] * 0.5, middle)
    expect(plots.first.locator(".tip")).to_contain_text("step 50 · epoch 5 · 50 s")
    expect(chart(tab, "Loss").locator(".reading")).to_have_text("50.00")
    expect(chart(tab, "Acc").locator(".reading")).to_have_text("-50.00")
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=3)
    tab.mouse.up()
    tab.wait_for_url(re.compile(r"zoom=50.*%2C7[45]"))
    reset = tab.get_by_role("button", name="Reset zoom")
    expect(reset).to_be_visible()
    tab.reload()
    expect(plots).to_have_count(2)
    box = plots.last.bounding_box() or pytest.fail("no chart")
    tab.mouse.move(box["x"] + 1, middle)
    expect(plots.last.locator(".tip")).to_contain_text("step 50 ")
    reset.click()
    expect(reset).to_be_hidden()
    assert "zoom" not in tab.url


def test_smoothing_applies_to_all_charts_and_is_stored(tab: Page, server: Stack) -> None:
    job = register(server)
    report(server, job, *(point(step, loss=step % 2) for step in range(101)))
    open_job(tab, server, job)
    slider = tab.get_by_label("Smoothing")
    expect(chart(tab, "Loss").locator(".reading")).to_have_text("0")
    slider.fill("0.9")
    expect(chart(tab, "Loss").locator(".reading")).to_have_text("0.4737")
    tab.reload()
    expect(chart(tab, "Loss").locator(".reading")).to_have_text("0.4737")
    slider.fill("0")
    expect(chart(tab, "Loss").locator(".reading")).to_have_text("0")


def test_page_with_charts_of_any_shape_is_accessible(chromium: Browser, server: Stack) -> None:
    job = register(server, objective={"metric": "loss"})
    values = {f"loss/rank{rank}": 1.0 for rank in range(9)}
    values |= {f"system/number {number}": 2.0 for number in range(9)}
    report(server, job, *(point(step, step // 4, loss=step, **values) for step in range(1, 20)))
    with person(chromium, server, who="grace", bypass_csp=True, reduced_motion="reduce") as page:
        assert check_page(page, f"{server.url}/jobs/{job}?x=epoch", "charts") == []
        named = page.locator("#charts .legend").first.locator("li").first
        expect(named).to_have_text("Loss 19.00")
