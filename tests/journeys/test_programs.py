"""The example programs, from the form to the comparison."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Browser, expect

from tests.journeys.conftest import PATIENCE, person
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
EXAMPLES = Path(settings.BASE_DIR) / "sdk" / "examples"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server on which the operator has installed one of the examples."""
    folder = tmp_path_factory.mktemp("programs")
    shutil.copytree(EXAMPLES / "shapes", folder / "shapes")
    with running_stack(tmp_path_factory.mktemp("data"), HEIMDALL_PROGRAMS_DIR=str(folder)) as stack:
        yield stack


def test_installed_program_is_started_swept_compared_and_cancelled(
    chromium: Browser, programs: Stack
) -> None:
    with person(chromium, programs) as tab:
        tab.goto(f"{programs.url}/programs")
        tab.get_by_role("link", name="Shapes (example)").click()
        tab.get_by_role("link", name="New job").click()
        tab.get_by_label("Epochs").fill("2")
        tab.get_by_label("Images").fill("500")
        tab.get_by_label("Project").fill("vision")
        tab.get_by_role("button", name="Start job").click()
        expect(tab.locator("#pill")).to_contain_text("Completed", timeout=PATIENCE)
        expect(tab.get_by_role("heading", name="Loss")).to_be_visible()
        expect(tab.locator("#log-lines")).to_contain_text("epoch 2: loss")

        tab.goto(f"{programs.url}/sweeps/new?program=shapes")
        tab.get_by_label("Name").fill("Optimizers")
        tab.locator("[name=method]").select_option("grid")
        tab.locator("[name=vary_optimizer]").fill("adam, sgd")
        tab.locator("summary", has_text="Fixed parameters").click()
        tab.locator("[name=base_epochs]").fill("1")
        tab.locator("[name=base_samples]").fill("500")
        tab.get_by_role("button", name="Start sweep").click()
        expect(tab.get_by_text("Completed", exact=True).first).to_be_visible(timeout=PATIENCE)

        with programs.api() as api:
            found = api.get("/jobs", params={"program": "shapes"}).json()["results"]
        trials = [job["id"] for job in found if job["sweep_id"]]
        assert len(trials) == 2
        tab.goto(f"{programs.url}/compare?jobs={','.join(trials)}")
        expect(tab.get_by_role("cell", name="Optimizer", exact=True)).to_be_visible()
        expect(tab.get_by_role("heading", name=re.compile("Validation"))).to_be_visible()

        tab.goto(f"{programs.url}/jobs/new?program=shapes")
        tab.get_by_label("Epochs").fill("1000")
        tab.get_by_role("button", name="Start job").click()
        expect(tab.locator("#log-lines")).to_contain_text("epoch 1: loss", timeout=PATIENCE)
        tab.get_by_role("link", name="Cancel").click()
        tab.get_by_role("button", name="Cancel job").click()
        expect(tab.locator("#pill")).to_contain_text("Cancelled", timeout=PATIENCE)
