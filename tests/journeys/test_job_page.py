"""The job pages in a browser: start, follow, pause, compare and clone jobs."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import JOURNEY, PATIENCE, content, person
from tests.stack import Stack

pytestmark = JOURNEY


def start_job(tab: Page, **values: str) -> None:
    tab.get_by_role("link", name="Jobs").click()
    tab.get_by_role("link", name="New job").first.click()
    tab.get_by_label("Dataset").select_option(label="Small")
    for label, value in {"Width": "16", "Heads": "2", "Layers": "1", **values}.items():
        tab.get_by_label(label, exact=True).fill(value)
    tab.get_by_role("button", name="Start job").click()
    tab.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))


def expect_status(tab: Page, label: str) -> None:
    expect(tab.locator("#pill")).to_have_text(label, timeout=PATIENCE)


def follow_job_to_its_end(tab: Page) -> None:
    """Start a job; its page shows the end without a reload and equals a reloaded one."""
    start_job(tab, Name="Journey", Epochs="6")
    tab.evaluate("window.untouched = true")
    expect(tab.locator("#live")).to_contain_text("Live")
    expect_status(tab, "Running")
    expect(tab.locator("#epochs tbody tr").first).to_be_visible(timeout=PATIENCE)
    expect_status(tab, "Completed")
    expect(tab.locator("#epochs tbody tr")).to_have_count(6)
    expect(tab.locator("#progress")).to_have_text("Epoch 6 of 6, 100 %")
    expect(tab.locator("#evaluation")).to_contain_text("Weighted centroid")
    expect(tab.locator("#evaluation")).to_contain_text("Cramér-Rao bound")
    expect(tab.locator("#timeline li:not(.day)").first).to_contain_text("Completed")
    expect(tab.get_by_role("button", name="Pause")).to_be_hidden()
    expect(tab.locator("#artifacts")).to_contain_text("model.onnx")
    assert tab.locator("[id$=-chart] canvas").count() == 2
    assert tab.evaluate("window.untouched") is True
    live = content(tab)
    tab.reload()
    expect(tab.locator("#live")).to_contain_text("Live")
    expect(tab.locator("#artifacts")).to_contain_text("model.onnx")
    assert content(tab) == live


def test_job_page_follows_a_job_from_start_to_end(tab: Page) -> None:
    follow_job_to_its_end(tab)


@pytest.mark.rabbit
@pytest.mark.xdist_group("stack")
def test_job_page_follows_a_job_of_a_worker_through_rabbitmq(
    chromium: Browser, stack: Stack
) -> None:
    with person(chromium, stack) as tab:
        follow_job_to_its_end(tab)


def test_buttons_and_keys_pause_resume_and_cancel(tab: Page) -> None:
    start_job(tab, Name="Steered", Epochs="5000", Patience="5000")
    expect(tab.locator("#epochs tbody tr").first).to_be_visible(timeout=PATIENCE)
    expect(tab).to_have_title(re.compile(r"^\d+ % · Steered"))
    tab.get_by_role("button", name="Pause").click()
    expect_status(tab, "Paused")
    expect(tab.get_by_role("button", name="Resume")).to_be_visible()
    tab.keyboard.press("p")
    expect_status(tab, "Running")
    expect(tab.locator("#timeline")).to_contain_text("Resumed from epoch", timeout=PATIENCE)
    tab.keyboard.press("c")
    expect(tab.get_by_role("dialog")).to_contain_text("Cancel “Steered”?")
    tab.get_by_role("button", name="Keep job").click()
    expect_status(tab, "Running")
    tab.get_by_role("link", name="Cancel").click()
    tab.get_by_role("button", name="Cancel job").click()
    expect_status(tab, "Cancelled")
    expect(tab.locator("#polite")).to_contain_text("Cancelled")


def test_logarithmic_scale_is_kept_after_a_reload(
    tab: Page, embedded: Stack, finished: list[str]
) -> None:
    tab.goto(f"{embedded.url}/jobs/{finished[0]}")
    expect(tab.locator("[data-log=error]")).to_have_attribute("aria-pressed", "true")
    pressed = tab.locator("[data-log=loss]")
    expect(pressed).to_have_attribute("aria-pressed", "false")
    tab.keyboard.press("l")
    expect(pressed).to_have_attribute("aria-pressed", "true")
    tab.reload()
    expect(pressed).to_have_attribute("aria-pressed", "true")
    pressed.click()
    tab.keyboard.press("?")
    expect(tab.get_by_role("dialog")).to_contain_text("Toggle logarithmic scale")


def test_zoom_in_a_chart_zooms_the_other(tab: Page, embedded: Stack, finished: list[str]) -> None:
    tab.goto(f"{embedded.url}/jobs/{finished[0]}")
    box = tab.locator("#loss-chart .u-over").bounding_box() or pytest.fail("no chart")
    middle = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] * 0.3, middle)
    expect(tab.locator("#error-legend .reading").first).not_to_have_text("")
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.7, middle, steps=3)
    selected = tab.locator("#error-chart .u-select").bounding_box() or pytest.fail("none")
    assert selected["width"] == pytest.approx(box["width"] * 0.4, rel=0.1)
    tab.mouse.up()


def test_list_updates_its_rows_and_announces_new_jobs(tab: Page, embedded: Stack) -> None:
    job_id = embedded.submit(epochs=4, name="Listed")
    tab.goto(f"{embedded.url}/jobs")
    row = tab.locator(f"tr[data-job='{job_id}']")
    expect(tab.locator("#live")).to_contain_text("Live")
    embedded.submit(epochs=1, name="Comes later")
    expect(tab.locator("#fresh")).to_have_text("1 new job. Refresh", timeout=PATIENCE)
    expect(row.locator("[data-field=state]")).to_have_text("Completed", timeout=PATIENCE)
    expect(row.locator("[data-field=epoch]")).to_have_text("4 / 4")
    expect(row.locator("[data-field=best]")).to_have_text(re.compile(r"\d"))
    expect(tab.locator("#workers")).to_contain_text(re.compile("busy|idle"))
    tab.locator("#fresh a").click()
    expect(tab.locator("#jobs")).to_contain_text("Comes later")
    tab.keyboard.press("/")
    tab.keyboard.type("Listed\n")
    expect(tab.locator("#jobs")).not_to_contain_text("Comes later")
    tab.get_by_role("link", name="Listed").first.focus()
    tab.keyboard.press("j")


def test_keyboard_shortcuts_work_on_every_page(
    tab: Page, embedded: Stack, finished: list[str]
) -> None:
    tab.goto(f"{embedded.url}/models")
    tab.keyboard.press("?")
    expect(tab.get_by_role("dialog")).to_contain_text("Search jobs")
    tab.keyboard.press("Escape")
    tab.keyboard.press("j")
    expect(tab.locator("tbody a:focus")).to_have_count(1)
    tab.goto(f"{embedded.url}/jobs/{finished[0]}")
    for key, epoch in {"j": "8", "k": "8"}.items():
        tab.keyboard.press(key)
        expect(tab.locator("#epochs tr:focus")).to_have_attribute("data-epoch", epoch)
    tab.keyboard.press("/")
    expect(tab.locator("#search")).to_be_focused()


def test_selected_jobs_are_compared(tab: Page, embedded: Stack, finished: list[str]) -> None:
    tab.goto(f"{embedded.url}/jobs?search=step")
    for box in tab.locator("#jobs input[type=checkbox]").all():
        box.check()
    tab.get_by_role("button", name="Compare selected").click()
    table = tab.locator("#table")
    expect(table).to_contain_text("Learning rate")
    expect(table).not_to_contain_text("Batch size")
    expect(table.locator(".winner").first).to_be_visible()
    expect(tab.locator("#curves canvas")).to_be_visible()
    table.get_by_role("link", name="Pin").first.click()
    expect(table).to_contain_text(re.compile(r"[+-]\d+\.\d %"))
    tab.get_by_role("link", name="by time").click()
    tab.wait_for_url(re.compile("over=time"))
    assert "baseline=" in tab.url


def test_clone_marks_changed_parameters(tab: Page, embedded: Stack, finished: list[str]) -> None:
    tab.goto(f"{embedded.url}/jobs/{finished[0]}")
    tab.get_by_role("link", name="Clone").click()
    tab.get_by_label("Name", exact=True).fill("Bolder")
    tab.get_by_label("Learning rate", exact=True).fill("0.01")
    tab.get_by_role("button", name="Start job").click()
    expect(tab.locator(".changed")).to_have_count(1)
    expect(tab.locator(".changed")).to_contain_text("0.0001 0.01")
    expect(tab.locator(".meta")).to_contain_text("cloned from Small step")
