"""The page of a trained model: predictions and downloads."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.journeys.conftest import JOURNEY, PATIENCE
from tests.stack import Stack

pytestmark = JOURNEY
# A safetensors file begins with the length of its header, some kilobytes.
MAGIC = {".safetensors": b"\0\0", ".json": b"{\n"}
HEARD = {"rssi_dbm": -78.5, "toa_ns": 12_000.0}


def test_predicted_position_on_the_page_equals_the_api_response(
    tab: Page, embedded: Stack, finished: list[str]
) -> None:
    tab.goto(f"{embedded.url}/models")
    tab.get_by_role("link", name="Small step").first.click()
    form = tab.locator("#readings")
    answer = tab.locator("#answer")
    form.get_by_role("button", name="Estimate position").click()
    expect(answer).to_contain_text("Enter at least one reading.")
    names = [row.get_attribute("data-receiver") for row in form.locator("tbody tr").all()[:3]]
    for index, name in enumerate(names):
        form.get_by_label(f"RSSI at {name}").fill(str(HEARD["rssi_dbm"] - index))
        form.get_by_label(f"Arrival time at {name}").fill(str(HEARD["toa_ns"] + 9000 * index))
    form.get_by_role("button", name="Estimate position").click()
    expect(answer.locator("ellipse.prediction")).to_be_visible(timeout=PATIENCE)
    expect(answer).to_contain_text(re.compile(r"68 % confidence ellipse [\d.,]+ k?m × [\d.,]+ k?m"))
    measurements = [
        {"receiver_id": name, "rssi_dbm": HEARD["rssi_dbm"] - index,
         "toa_ns": HEARD["toa_ns"] + 9000 * index}
        for index, name in enumerate(names)
    ]  # fmt: skip
    with embedded.api() as api:
        model = tab.url.rsplit("/", 1)[1]
        response = api.post(f"/models/{model}/predict", json={"measurements": measurements}).json()
    (place,) = response["predictions"]
    expect(answer).to_contain_text(f"{place['lat']:.5f}, {place['lon']:.5f}")


def test_artifacts_are_downloaded_completely(
    tab: Page, embedded: Stack, finished: list[str], tmp_path: Path
) -> None:
    tab.goto(f"{embedded.url}/jobs/{finished[0]}")
    panel = tab.locator("#artifacts")
    expect(panel).to_be_visible()
    with embedded.api() as api:
        listed = api.get(f"/jobs/{finished[0]}/artifacts").json()["results"]
    assert {"model.safetensors", "card.json", "best.safetensors", "model.onnx"} <= {
        artifact["name"] for artifact in listed
    }
    expect(panel.get_by_role("link")).to_have_count(len(listed))
    for artifact in (artifact for artifact in listed if artifact["bytes"]):
        with tab.expect_download(timeout=PATIENCE) as started:
            panel.get_by_role("link", name=artifact["name"], exact=True).click()
        kept = tmp_path / artifact["name"]
        started.value.save_as(kept)
        assert kept.stat().st_size == artifact["bytes"]
        assert MAGIC[kept.suffix] in kept.read_bytes()[:8]
