"""The files of a trained model."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.journeys.conftest import JOURNEY, PATIENCE
from tests.stack import Stack

pytestmark = JOURNEY
# A safetensors file begins with the length of its header, some kilobytes.
MAGIC = {".safetensors": b"\0\0", ".json": b"{\n"}


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
