"""Lost connections: the page shows the state, recovers and equals a reloaded one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.broker import PrivateBroker
from tests.faults.results_table import scaled
from tests.journeys.conftest import JOURNEY, PATIENCE, content, person
from tests.stack import SMALL, Stack, running_stack

pytestmark = JOURNEY


def expect_same_as_reloaded_page(tab: Page) -> None:
    expect(tab.locator("#pill")).to_have_text("Completed", timeout=PATIENCE)
    expect(tab.locator("#timeline li:not(.day)").first).to_contain_text(
        "Completed", timeout=PATIENCE
    )
    expect(tab.locator("#artifacts")).to_contain_text("model.onnx")
    tab.wait_for_timeout(400)
    live = content(tab)
    tab.reload()
    expect(tab.locator("#live")).to_contain_text(re.compile("Live|Reconnecting|Polling"))
    expect(tab.locator("#artifacts")).to_contain_text("model.onnx")
    assert content(tab) == live


def test_page_falls_back_to_server_sent_events_and_then_to_polling(
    tab: Page, embedded: Stack
) -> None:
    job_id = embedded.submit(epochs=40, patience=40, name="Fallback", hidden=64)
    tab.route_web_socket(re.compile("/ws/"), lambda socket: socket.close())
    tab.goto(f"{embedded.url}/jobs/{job_id}")
    expect(tab.locator("#live")).to_contain_text("Live (SSE)", timeout=PATIENCE)
    expect(tab.locator("#epochs tbody tr").first).to_be_visible(timeout=PATIENCE)
    tab.route(re.compile("/events/stream"), lambda route: route.abort())
    tab.reload()
    expect(tab.locator("#live")).to_contain_text("Polling every 2 s", timeout=PATIENCE)
    expect_same_as_reloaded_page(tab)


def test_duplicate_frames_are_dropped_and_missing_ones_fetched(tab: Page, embedded: Stack) -> None:
    """Behind a proxy that duplicates every third frame and drops every fourth."""
    count = {"frames": 0}

    def unreliable(socket):  # type: ignore[no-untyped-def]
        server = socket.connect_to_server()

        def pass_on(message: str) -> None:
            count["frames"] += 1
            times = 2 if count["frames"] % 3 == 0 else 0 if count["frames"] % 4 == 0 else 1
            for _ in range(times):
                socket.send(message)

        server.on_message(pass_on)

    tab.route_web_socket(re.compile("/ws/training"), unreliable)
    job_id = embedded.submit(epochs=30, patience=30, name="Unreliable")
    tab.goto(f"{embedded.url}/jobs/{job_id}")
    expect(tab.locator("#epochs tbody tr")).to_have_count(30, timeout=PATIENCE)
    # The last frame may have been dropped; the next connection fetches it.
    count["frames"] = 0
    tab.reload()
    expect(tab.locator("#epochs tbody tr")).to_have_count(30)
    assert tab.evaluate("document.querySelectorAll('#epochs tr.best').length") == 1


def test_unreachable_server_is_shown_and_the_chart_stays(
    tab: Page, embedded: Stack, finished: list[str]
) -> None:
    tab.goto(f"{embedded.url}/jobs/{finished[0]}")
    expect(tab.locator("#live")).to_contain_text("Live")

    def refuse(route: Route) -> None:
        route.abort()

    tab.route(re.compile("/api/"), refuse)
    tab.route_web_socket(re.compile("/ws/"), lambda socket: socket.close())
    tab.reload()
    expect(tab.locator("#live")).to_contain_text("Reconnecting", timeout=PATIENCE)
    assert tab.locator("[id$=-chart] canvas").count() == 2


@pytest.fixture
def own_stack(private_broker: PrivateBroker, tmp_path: Path) -> Iterator[Stack]:
    """A stack with its own broker, which the test kills."""
    with running_stack(tmp_path, private_broker.url, workers=1) as running:
        yield running


@pytest.mark.rabbit
@pytest.mark.xdist_group("faults")
def test_open_page_recovers_from_a_broker_kill_and_web_restart(
    chromium: Browser, own_stack: Stack, private_broker: PrivateBroker
) -> None:
    job_id = own_stack.submit(epochs=scaled(160, 600), patience=600, **{**SMALL, "batch_size": 8})
    with person(chromium, own_stack) as tab:
        tab.goto(f"{own_stack.url}/jobs/{job_id}")
        expect(tab.locator("#epochs tbody tr").first).to_be_visible(timeout=PATIENCE)
        private_broker.kill()
        web = own_stack.processes[0]
        web.terminate()
        web.wait(timeout=15)
        expect(tab.locator("#live")).to_contain_text("Reconnecting")
        tab.wait_for_timeout(1000 * scaled(0, 20))
        own_stack.start_web()
        expect(tab.locator("#live")).to_contain_text("Live", timeout=PATIENCE)
        private_broker.start()
        expect_same_as_reloaded_page(tab)
