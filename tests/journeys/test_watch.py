"""What a person does, in a real browser: sign in, start a job, watch it finish."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.integration.api.test_datasets import TABLES
from tests.stack import PASSWORD, Stack

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("embedded"),
    pytest.mark.timeout(180),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
PATIENCE = 60_000  # ms


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium, embedded: Stack) -> Iterator[Page]:  # type: ignore[no-untyped-def]
    """Ada's browser, signed in; nothing may go wrong on any page."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.goto(f"{embedded.url}/jobs")
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    yield page
    context.close()
    assert faults == []


def start(tab: Page, **values: str) -> None:
    tab.get_by_role("link", name="Jobs").click()
    tab.get_by_role("link", name="Start a training").first.click()
    tab.get_by_text("Network and optimiser").click()
    for label, value in {"Width": "16", "Heads": "2", "Layers": "1", **values}.items():
        tab.get_by_label(label, exact=True).fill(value)
    tab.get_by_role("button", name="Start").click()
    tab.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))


def test_sign_in_start_a_job_and_watch_it_finish_without_a_reload(tab: Page) -> None:
    start(tab, Name="Journey", Epochs="6")
    tab.evaluate("window.untouched = true")
    expect(tab.locator("#live")).to_have_text("live")
    expect(tab.locator("#status")).to_have_text("running", timeout=PATIENCE)
    expect(tab.locator("#epochs tbody tr").first).to_be_visible(timeout=PATIENCE)
    expect(tab.locator("#status")).to_have_text("completed", timeout=PATIENCE)
    expect(tab.locator("#epochs tbody tr")).to_have_count(6)
    expect(tab.locator("#percent")).to_have_text("100 %")
    expect(tab.locator("#evaluated")).to_contain_text("weighted centroid")
    expect(tab.locator("#evaluated")).to_contain_text("Cramér-Rao bound")
    expect(tab.locator("#log li").first).to_contain_text("completed")
    expect(tab.get_by_role("button", name="Pause")).to_be_hidden()
    assert tab.locator("canvas").count() == 2
    assert tab.evaluate("window.untouched") is True

    live = tab.locator("#epochs").inner_text()
    tab.reload()
    assert tab.locator("#epochs").inner_text() == live


def test_pause_resume_and_cancel_from_the_page(tab: Page) -> None:
    start(tab, Epochs="5000", Patience="5000")
    expect(tab.locator("#epochs tbody tr").first).to_be_visible(timeout=PATIENCE)
    tab.get_by_role("button", name="Pause").click()
    expect(tab.locator("#status")).to_have_text("paused", timeout=PATIENCE)
    tab.get_by_role("button", name="Resume").click()
    expect(tab.locator("#status")).to_have_text("running", timeout=PATIENCE)
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.locator("#status")).to_have_text("cancelled", timeout=PATIENCE)


def test_the_list_moves_as_its_jobs_do(tab: Page, embedded: Stack) -> None:
    job_id = embedded.submit(epochs=4, name="Listed")
    tab.goto(f"{embedded.url}/jobs")
    row = tab.locator(f"[data-job='{job_id}']")
    expect(row.locator("[data-is=status]")).to_have_text("completed", timeout=PATIENCE)
    expect(row.locator("[data-is=epoch]")).to_have_text("4/4")
    expect(row.locator("[data-is=best]")).to_have_text(re.compile(r"\d"))


def test_a_dataset_is_made_imported_and_refused(tab: Page, tmp_path: Path) -> None:
    tab.get_by_role("link", name="Datasets").click()
    made = tab.locator("form", has=tab.get_by_role("button", name="Make"))
    made.get_by_label("Name").fill("Made here")
    made.get_by_label("Samples").fill("60")
    made.get_by_role("button", name="Make").click()
    expect(tab.locator("#status")).to_have_text("completed", timeout=PATIENCE)

    def upload(name: str, tables: dict[str, str]) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as pack:
            for table, text in tables.items():
                pack.writestr(table, text)
        tab.get_by_role("link", name="Datasets").click()
        form = tab.locator("form", has=tab.get_by_role("button", name="Import"))
        form.get_by_label("Name").fill(name)
        zipped = {"name": "m.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
        form.get_by_label("Zip file").set_input_files([zipped])  # type: ignore[list-item]
        form.get_by_role("button", name="Import").click()

    upload("Measured here", TABLES)
    expect(tab.get_by_text("Imported 3 samples.")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_screen(tab: Page, embedded: Stack, width: int) -> None:
    job_id = embedded.submit(epochs=2, name="A name that is quite long for a small screen")
    embedded.until(job_id, "completed")
    tab.set_viewport_size({"width": width, "height": 844})
    for path in ("/jobs", f"/jobs/{job_id}", "/jobs/new", "/datasets"):
        tab.goto(f"{embedded.url}{path}")
        tab.wait_for_load_state()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, path
