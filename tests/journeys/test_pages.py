"""Pages offline, with screen readers, in print and with long names."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import JOURNEY, PATIENCE, person
from tests.polling import eventually
from tests.stack import Stack

pytestmark = JOURNEY
LONG = "unbroken" * 22
REGIONS = "output, [role=status], [role=alert], [aria-live]"
RIGHT_EDGE = "column => document.querySelector(column).getBoundingClientRect().right"
OBSERVE = """regions => {
  window.changes = 0;
  const observer = new MutationObserver((found) => (window.changes += found.length));
  for (const region of document.querySelectorAll(regions))
    observer.observe(region, { childList: true, characterData: true, subtree: true });
}"""


@pytest.fixture
def running(embedded: Stack) -> str:
    job_id = embedded.submit(epochs=5000, patience=5000, name="Long run")
    eventually(lambda: embedded.job(job_id)["current_epoch"])
    return job_id


def stop(stack: Stack, job_id: str) -> None:
    with stack.api() as api:
        api.post(f"/jobs/{job_id}/cancel")


def test_offline_browser_is_not_shown_as_a_silent_worker_or_server(
    tab: Page, embedded: Stack, running: str
) -> None:
    tab.goto(f"{embedded.url}/jobs/{running}")
    expect(tab.locator("#live")).to_have_text("Live")
    tab.context.set_offline(True)
    expect(tab.locator("#live")).to_have_text("Offline: this browser has no network.")
    tab.get_by_role("button", name="Pause").click()
    expect(tab.locator("#refusal")).to_have_text("Could not pause: this browser is offline.")
    tab.wait_for_timeout(6000)  # longer than the lease of 4 s
    expect(tab.locator("#pill")).to_have_text("Running")
    expect(tab.locator("#silent")).to_be_hidden()
    expect(tab.locator("#heartbeat")).to_have_text("–")
    expect(tab.locator(".live-age")).to_have_text(re.compile(r"Last update \d+ s ago"))
    tab.context.set_offline(False)
    expect(tab.locator("#live")).to_have_text("Live", timeout=PATIENCE)
    expect(tab.locator(".live-age")).to_have_text("")
    stop(embedded, running)


def test_server_outage_is_not_shown_as_a_silent_worker(
    tab: Page, embedded: Stack, running: str
) -> None:
    sockets: list[Any] = []

    def connect(socket: Any) -> None:
        if sockets:
            socket.close()  # after the first
        else:
            socket.connect_to_server()
            sockets.append(socket)

    tab.route_web_socket(re.compile("/ws/"), connect)
    tab.goto(f"{embedded.url}/jobs/{running}")
    expect(tab.locator("#live")).to_have_text("Live")
    tab.route("**/*", lambda route: route.abort())
    sockets[0].close()
    expect(tab.locator("#live")).to_have_text("Reconnecting: the server does not respond.")
    tab.get_by_role("button", name="Pause").click()
    expect(tab.locator("#refusal")).to_have_text("Could not pause: the server is unreachable.")
    tab.wait_for_timeout(6000)  # longer than the lease of 4 s
    expect(tab.locator("#pill")).to_have_text("Running")
    expect(tab.locator("#silent")).to_be_hidden()
    expect(tab.locator("#heartbeat")).to_have_text("–")
    stop(embedded, running)


def test_silent_socket_is_not_shown_as_live(tab: Page, embedded: Stack, running: str) -> None:
    passes = [True]

    def connect(socket: Any) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda message: passes[0] and socket.send(message))

    tab.route_web_socket(re.compile("/ws/"), connect)
    tab.goto(f"{embedded.url}/jobs/{running}")
    expect(tab.locator("#live")).to_have_text("Live")
    passes[0] = False
    expect(tab.locator("#live")).to_have_text("No data from the server.", timeout=11_000)
    expect(tab.locator("#pill")).to_have_text("Running")
    passes[0] = True
    expect(tab.locator("#live")).to_have_text("Live", timeout=PATIENCE)
    stop(embedded, running)


def test_page_shows_that_the_session_ended_in_another_tab(
    tab: Page, embedded: Stack, running: str
) -> None:
    sockets: list[Any] = []

    def connect(socket: Any) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    tab.route_web_socket(re.compile("/ws/"), connect)
    tab.goto(f"{embedded.url}/jobs/{running}")
    expect(tab.locator("#live")).to_have_text("Live")
    sockets[0].close(code=4401)
    expect(tab.locator("#live")).to_have_text("Signed out. Reload to sign in.")
    tab.wait_for_timeout(2000)
    assert len(sockets) == 1  # it does not try again
    stop(embedded, running)


def test_two_tabs_and_the_back_button_show_the_same_status(
    tab: Page, embedded: Stack, running: str
) -> None:
    url = f"{embedded.url}/jobs/{running}"
    other = tab.context.new_page()
    for page in (tab, other):
        page.goto(url)
        expect(page.locator("#live")).to_have_text("Live")
    other.goto(f"{embedded.url}/jobs")
    tab.get_by_role("button", name="Pause").click()
    expect(tab.locator("#pill")).to_have_text("Paused", timeout=PATIENCE)
    other.go_back()
    expect(other.locator("#pill")).to_have_text("Paused")
    other.get_by_role("button", name="Resume").click()
    expect(tab.locator("#pill")).to_have_text("Running", timeout=PATIENCE)
    stop(embedded, running)


@pytest.mark.parametrize(("hours", "zone"), [(5, "America/New_York"), (-2, "Asia/Kathmandu")])
def test_wrong_clock_of_the_browser_changes_no_age(
    chromium: Browser, embedded: Stack, running: str, hours: int, zone: str
) -> None:
    with person(chromium, embedded, timezone_id=zone) as tab:
        tab.add_init_script(f"const now = Date.now; Date.now = () => now() + {hours} * 3600_000;")
        tab.goto(f"{embedded.url}/jobs/{running}")
        expect(tab.locator("#live")).to_have_text("Live")
        expect(tab.locator("#heartbeat")).to_have_text(re.compile(r"^\d s ago$"))
        expect(tab.locator("#pill")).to_have_text("Running")
        expect(tab.locator("#progress")).to_have_text(re.compile(r"about [0-9]+ (s|min)"))
    stop(embedded, running)


def test_live_regions_of_a_training_announce_rarely(
    tab: Page, embedded: Stack, running: str
) -> None:
    tab.goto(f"{embedded.url}/jobs/{running}")
    expect(tab.locator("#live")).to_have_text("Live")
    epoch = tab.locator("#progress").inner_text()
    tab.evaluate(OBSERVE, REGIONS)
    tab.wait_for_timeout(10_000)
    expect(tab.locator("#progress")).not_to_have_text(epoch)
    assert tab.evaluate("window.changes") <= 4
    tab.evaluate("window.changes = 0")
    tab.context.set_offline(True)
    tab.wait_for_timeout(8000)
    assert tab.evaluate("window.changes") <= 4  # the age of the data counts outside of them
    tab.context.set_offline(False)
    stop(embedded, running)


def test_printed_pages_are_light_with_complete_tables(
    chromium: Browser, embedded: Stack, finished: list[str]
) -> None:
    with person(chromium, embedded, color_scheme="dark") as tab:
        tab.goto(f"{embedded.url}/jobs/{finished[0]}")
        expect(tab.locator("#live")).to_contain_text("Live")
        tab.emulate_media(media="print", color_scheme="dark")
        colors = tab.evaluate("""() => ["body", "h1", ".panel"].map((selector) => {
          const style = getComputedStyle(document.querySelector(selector));
          return selector === "h1" ? style.color : style.backgroundColor;
        })""")
        assert colors == ["rgb(255, 255, 255)", "rgb(23, 27, 34)", "rgb(255, 255, 255)"]
        cut = tab.evaluate("""() => [...document.querySelectorAll(".scroll, .tall, .terminal")]
          .filter((box) => box.scrollHeight > box.clientHeight + 1 || getComputedStyle(box).overflowY !== "visible")
          .length""")  # noqa: E501
        assert cut == 0
        expect(tab.locator(".bar")).to_be_hidden()
        tab.emulate_media(media="print", color_scheme="light")


@pytest.fixture(scope="module")
def long_names(embedded: Stack) -> list[str]:
    jobs = [embedded.submit(epochs=1, name=f"{LONG}{number}") for number in range(2)]
    for job_id in jobs:
        embedded.until(job_id, "completed")
    return jobs


def test_long_names_leave_room_for_the_other_columns(
    chromium: Browser, embedded: Stack, long_names: list[str]
) -> None:
    pages = {
        "/admin/training/job/": ".field-progress progress",
        f"/compare?jobs={','.join(long_names)}": "#table tbody tr:first-child td:last-child",
        "/jobs": "#jobs [data-field=best]",
        f"/jobs/{long_names[0]}": "#pill",
        "/models": "tbody td:nth-child(3)",
    }
    with person(chromium, embedded, who="grace") as tab:
        for width in (1280, 390):
            tab.set_viewport_size({"width": width, "height": 844})
            for path, column in pages.items():
                tab.goto(embedded.url + path)
                assert tab.evaluate("document.documentElement.scrollWidth") <= width, path
                if width == 390 and path.startswith(("/admin", "/compare")):
                    continue  # tables that scroll in their box
                # In one call, because scripts replace rows.
                right = tab.evaluate(RIGHT_EDGE, column)
                assert 0 < right <= width, (path, width, right)


def test_charts_zoom_by_keyboard_and_the_address_keeps_it(
    tab: Page, embedded: Stack, finished: list[str]
) -> None:
    tab.goto(f"{embedded.url}/jobs/{finished[0]}")
    chart = tab.locator(".chart[tabindex]").first
    expect(chart.locator("canvas")).to_be_visible()
    chart.focus()
    tab.keyboard.press("+")
    expect(tab.locator("#reset-zoom")).to_be_visible()
    assert "zoom=" in tab.url
    before = tab.url
    tab.keyboard.press("ArrowRight")
    assert tab.url != before
    tab.reload()
    expect(tab.locator("#reset-zoom")).to_be_visible()
    tab.locator("#reset-zoom").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#reset-zoom")).to_be_hidden()
    assert "zoom=" not in tab.url
