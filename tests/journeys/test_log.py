"""The log of a user's script, live."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import PATIENCE, person
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
SCRIPT = """
import sys, time
print("\\x1b[32mgreen\\x1b[0m <i>no markup</i>")
for percent in range(0, 101, 20):
    print(f"\\r{percent} %", end="", file=sys.stderr)
    time.sleep(0.05)
print("\\nWARNING: slow")
for number in range(300):
    print(f"line {number} of the training")
    time.sleep(0.005)
time.sleep(2)
raise ValueError("the data is gone")
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("programs")
    (folder / "talker").mkdir()
    (folder / "talker" / "program.toml").write_text(
        'title = "Talker"\ncommand = ["python", "train.py"]\n'
    )
    (folder / "talker" / "train.py").write_text(SCRIPT)
    with running_stack(
        tmp_path_factory.mktemp("scripts"),
        HEIMDALL_PROGRAMS_DIR=str(folder),
        HEIMDALL_MAX_CRASHES="1",
    ) as stack:
        yield stack


def submit(stack: Stack) -> str:
    with stack.api() as api:
        answer = api.post("/jobs", json={"program": "talker", "parameters": {}, "name": "Talk"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def lines(tab: Page) -> list[str]:
    return [str(one) for one in tab.locator("#log-lines .line").all_inner_texts()]


def test_output_is_followed_live_and_a_failed_job_opens_at_its_traceback(
    chromium: Browser, scripts: Stack
) -> None:
    with person(chromium, scripts) as tab:
        job = submit(scripts)
        tab.goto(f"{scripts.url}/jobs/{job}")
        log = tab.locator("#log-lines")
        expect(log).to_contain_text("green <i>no markup</i>", timeout=PATIENCE)
        expect(log.locator(".ansi-fg-2")).to_have_text("green")
        expect(log).to_contain_text("100 %")
        assert "80 %" not in log.inner_text()
        expect(log.locator(".warning")).to_have_text("WARNING: slow")
        expect(log).to_contain_text("line 299 of the training")
        expect(tab.locator("#pill")).to_have_text("Failed", timeout=PATIENCE)
        expect(log.locator(".error").last).to_contain_text("ValueError: the data is gone")
        live = lines(tab)
        assert [one for one in live if one.startswith("line ")] == [
            f"line {number} of the training" for number in range(300)
        ]

        tab.reload()
        expect(log.locator(".line")).to_have_count(len(live))
        assert lines(tab) == live
        top = log.evaluate(
            "view => [...view.children].find((line) => line.textContent.startsWith('Traceback'))"
            ".getBoundingClientRect().top - view.getBoundingClientRect().top"
        )
        assert 0 <= top < 400

        tab.get_by_label("Search the shown log").fill("LINE 29")
        expect(tab.locator("#log-matches")).to_have_text("11 lines")
        expect(log.locator(".current")).to_have_text("line 299 of the training")
        tab.get_by_label("Search the shown log").press("Enter")
        expect(log.locator(".current")).to_have_text("line 29 of the training")
        tab.get_by_role("button", name="wrap").click()
        expect(log).to_have_class(re.compile("wrap"))


def test_without_javascript_the_last_lines_are_on_the_page(
    chromium: Browser, scripts: Stack, tmp_path: Path
) -> None:
    job = submit(scripts)
    scripts.until(job, "failed")
    with person(chromium, scripts, java_script_enabled=False) as tab:
        tab.goto(f"{scripts.url}/jobs/{job}")
        shown = lines(tab)
        assert len(shown) == 200
        assert shown[-1].strip() == "ValueError: the data is gone"
        expect(tab.locator("#failure pre")).to_contain_text("Traceback (most recent call last):")
        with tab.expect_download() as found:
            tab.locator("#log noscript a, #log a[download]").last.click()
        found.value.save_as(tmp_path / "log.txt")
        assert b"\x1b[32mgreen" in (tmp_path / "log.txt").read_bytes()
