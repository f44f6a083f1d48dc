"""Locate: readings that are typed, pasted or uploaded become positions on a map."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import JOURNEY, PATIENCE, person
from tests.journeys.test_accessibility import AXE, PICTURES, SCHEMES, SIZES, findings
from tests.stack import Stack
from tests.workbooks import write_workbook

pytestmark = JOURNEY
HEARD = {"rssi_dbm": -78.5, "toa_ns": 12_000.0}


def open_locate(tab: Page, stack: Stack, job_id: str) -> list[str]:
    """By the primary action of a completed job; return the receivers."""
    tab.goto(f"{stack.url}/jobs/{job_id}")
    tab.locator("#actions").get_by_role("link", name="Locate", exact=True).click()
    expect(tab.get_by_role("heading", name="Locate", exact=True)).to_be_visible()
    rows = tab.locator("#readings tbody tr").all()
    return [str(row.get_attribute("data-receiver")) for row in rows]


def wide(names: list[str], count: int = 3) -> list[list[str]]:
    """Cells of a table as a spreadsheet with decimal commas copies them."""
    rows = [
        [f"TX {number}", f"-{80 + number},5", f"-{95 - number},25", "", "-101"]
        for number in range(count)
    ]
    return [["Sample", *names[:4]], *rows]


def to_text(cells: list[list[str]]) -> str:
    return "\n".join("\t".join(line) for line in cells)


@pytest.fixture(params=[True, False], ids=["javascript", "no-javascript"])
def either(chromium: Browser, embedded: Stack, request: Any) -> Iterator[Page]:
    options = {"java_script_enabled": request.param, "expected": "400"}
    with person(chromium, embedded, **options) as page:
        yield page


def test_typed_readings_give_the_same_position_as_the_api(
    either: Page, embedded: Stack, finished: list[str]
) -> None:
    names = open_locate(either, embedded, finished[0])[:3]
    address = either.url
    one = either.locator("#one")
    either.get_by_role("button", name="Locate", exact=True).click()
    expect(one).to_contain_text("Enter at least one reading.")
    one.get_by_label(f"RSSI at {names[0]}").fill("-69,125")
    either.get_by_role("button", name="Locate", exact=True).click()
    expect(one).to_contain_text("can mean -69.125 or -69125")
    expect(one.get_by_label(f"RSSI at {names[0]}")).to_have_attribute("aria-invalid", "true")
    for index, name in enumerate(names):
        typed = str(HEARD["rssi_dbm"] - index).replace(".", ",")
        one.get_by_label(f"RSSI at {name}").fill(typed)
        one.get_by_label(f"Arrival time at {name}").fill(str(HEARD["toa_ns"] + 9000 * index))
    either.get_by_role("button", name="Locate", exact=True).click()
    table = either.locator("#positions")
    expect(table.locator("tbody tr")).to_have_count(1, timeout=PATIENCE)
    expect(either.locator("#results ellipse")).to_have_count(2)
    expect(table).to_contain_text(re.compile(r"[\d.,]+ × [\d.,]+ k?m"))
    expect(one.get_by_label(f"RSSI at {names[0]}")).to_have_value("-78,5")
    measurements = [
        {"receiver_id": name, "rssi_dbm": HEARD["rssi_dbm"] - index,
         "toa_ns": HEARD["toa_ns"] + 9000 * index}
        for index, name in enumerate(names)
    ]  # fmt: skip
    model = address.split("/")[-2]
    with embedded.api() as api:
        response = api.post(f"/models/{model}/predict", json={"measurements": measurements}).json()
    (place,) = response["predictions"]
    expect(table).to_contain_text(f"{place['lat']:.5f}, {place['lon']:.5f}")
    expect(table).to_contain_text(place["locator"])
    expect(table).to_contain_text(", ".join(names))
    assert either.url.partition("#")[0] == address  # no token and no reading in the address


def test_pasted_table_is_located_and_downloaded(
    either: Page, embedded: Stack, finished: list[str], tmp_path: Path
) -> None:
    names = open_locate(either, embedded, finished[0])
    cells = wide(names)
    either.get_by_label("Table", exact=True).fill(to_text(cells).replace("-81,5", "-81,x"))
    either.get_by_role("button", name="Locate all").click()
    expect(either.locator("#many")).to_contain_text(
        f"Row 3, column {names[0]}: rssi_dbm '-81,x' is not a number.", timeout=PATIENCE
    )
    expect(either.get_by_label("Table", exact=True)).to_have_value(re.compile("-81,x"))
    either.get_by_label("Table", exact=True).fill(to_text(cells))
    either.get_by_role("button", name="Locate all").click()
    rows = either.locator("#positions tbody tr")
    expect(rows).to_have_count(3, timeout=PATIENCE)
    expect(either.locator("#many ul.error")).to_have_count(0)
    expect(rows.nth(1)).to_contain_text("TX 1")
    expect(either.locator("#results")).to_contain_text(f"The table has no column for {names[4]}")
    found = {}
    for name in ("CSV", "GeoJSON", "GPX", "KML"):
        with either.expect_download(timeout=PATIENCE) as started:
            either.get_by_role("button", name=name, exact=True).click()
        kept = tmp_path / started.value.suggested_filename
        started.value.save_as(kept)
        found[name] = kept.read_text()
    table = list(csv.DictReader(found["CSV"].splitlines()))
    assert [row["sample_id"] for row in table] == ["TX 0", "TX 1", "TX 2"]
    assert len(json.loads(found["GeoJSON"])["features"]) == 9
    for name, count in (("GPX", "wpt"), ("KML", "Folder")):
        root = ET.fromstring(found[name])  # noqa: S314  (made by the code under test)
        assert len([one for one in root.iter() if one.tag.endswith(f"}}{count}")]) == 3


def test_workbook_is_uploaded_and_located(
    either: Page, embedded: Stack, finished: list[str], tmp_path: Path
) -> None:
    names = open_locate(either, embedded, finished[0])
    cells: list[list[object]] = [["sample", "receiver", "rssi"], ["a", names[0], -80.5]]
    cells += [["a", names[1], -91], ["b", names[2], -85]]
    write_workbook(tmp_path / "heard.xlsx", {"Heard": cells})
    either.get_by_label("Or a file").set_input_files(tmp_path / "heard.xlsx")
    either.get_by_role("button", name="Locate all").click()
    rows = either.locator("#positions tbody tr")
    expect(rows).to_have_count(2, timeout=PATIENCE)
    expect(rows.first).to_contain_text(f"{names[0]}, {names[1]}")
    with either.expect_download(timeout=PATIENCE) as started:
        either.get_by_role("button", name="GPX", exact=True).click()
    assert started.value.suggested_filename == "positions.gpx"


def test_position_highlights_its_row_and_the_receivers_that_heard_it(
    chromium: Browser, embedded: Stack, finished: list[str]
) -> None:
    granted: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}
    with person(chromium, embedded, **granted) as tab:
        names = open_locate(tab, embedded, finished[0])
        tab.get_by_label("Table", exact=True).fill(to_text(wide(names)))
        tab.get_by_role("button", name="Locate all").click()
        rows = tab.locator("#positions tbody tr")
        expect(rows).to_have_count(3, timeout=PATIENCE)
        tab.locator('#results [data-answer="1"]').dispatch_event("click")
        expect(rows.nth(1)).to_have_class("here")
        expect(tab.locator("#results .heard")).to_have_count(3)
        heard = {names[0], names[1], names[3]}
        titles = tab.locator("#results .heard title").all_text_contents()
        assert set(titles) == heard
        rows.nth(2).get_by_role("link").click()
        expect(rows.nth(2)).to_have_class("here")
        expect(rows.nth(1)).not_to_have_class("here")
        coordinates = rows.nth(2).get_by_role("button", name="Copy coordinates")
        coordinates.click()
        copied = tab.evaluate("navigator.clipboard.readText()")
        assert re.fullmatch(r"-?\d+\.\d{5}, -?\d+\.\d{5}", copied)
        expect(rows.nth(2)).to_contain_text(copied)
        tab.get_by_label("Table", exact=True).press_sequentially(" ")
        expect(tab.locator("#stale")).to_be_visible()
        expect(tab.get_by_role("button", name="GPX", exact=True)).to_be_disabled()


def test_page_with_positions_has_no_accessibility_violations(
    chromium: Browser, embedded: Stack, finished: list[str]
) -> None:
    still: dict[str, Any] = {"bypass_csp": True, "reduced_motion": "reduce"}
    with person(chromium, embedded, **still) as tab:
        names = open_locate(tab, embedded, finished[0])
        tab.get_by_label("Table", exact=True).fill(to_text(wide(names, count=12)))
        tab.get_by_role("button", name="Locate all").click()
        expect(tab.locator("#positions tbody tr")).to_have_count(12, timeout=PATIENCE)
        tab.locator("#positions tbody tr").nth(3).get_by_role("link").click()
        tab.evaluate(AXE)
        problems = []
        for width, height in SIZES.items():
            tab.set_viewport_size({"width": width, "height": height})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            for scheme in SCHEMES:
                tab.emulate_media(color_scheme=scheme)
                problems += findings(tab, scheme)
                if PICTURES:
                    path = f"{PICTURES}/located-{width}-{scheme}.png"
                    tab.screenshot(path=path, full_page=True)
    assert problems == []
