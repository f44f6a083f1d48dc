"""Forms lose no input: double clicks, expired sessions, presets and decimal commas."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import JOURNEY, person
from tests.stack import PASSWORD, Stack

pytestmark = JOURNEY


def count_jobs(stack: Stack, name: str) -> int:
    with stack.api() as api:
        return len(api.get("/jobs", params={"search": name}).json()["results"])


def fill_job_form(tab: Page, stack: Stack, name: str) -> None:
    tab.goto(f"{stack.url}/jobs/new")
    tab.get_by_label("Name", exact=True).fill(name)
    tab.get_by_label("Notes").fill("What I want to know")
    tab.get_by_label("Epochs", exact=True).fill("3")
    tab.get_by_label("Learning rate").fill("0,002")


def sign_in(tab: Page) -> None:
    tab.get_by_label("Username").fill("bob")
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    # A goto() that follows would otherwise cancel the POST that is still under way.
    expect(tab.get_by_label("Password")).to_have_count(0)


def share_dataset(stack: Stack) -> None:
    """Bob, whose session the tests end, may use ada's dataset."""
    stack.python(
        "-c",
        "import django; django.setup()\n"
        "from django.contrib.auth.models import Group, User\n"
        "from training.models import Dataset\n"
        "team, _ = Group.objects.get_or_create(name='Forms')\n"
        "team.user_set.set(User.objects.filter(username__in=['ada', 'bob']))\n"
        f"Dataset.objects.filter(pk='{stack.dataset}').update(team=team)\n",
    )


def test_double_click_starts_one_job(tab: Page, embedded: Stack) -> None:
    fill_job_form(tab, embedded, "Clicked twice")
    tab.get_by_role("button", name="Start job").dblclick()
    expect(tab.locator("h1")).to_have_text("Clicked twice")
    assert count_jobs(embedded, "Clicked twice") == 1


def test_two_clicks_without_javascript_start_one_job(chromium: Browser, embedded: Stack) -> None:
    with person(chromium, embedded, java_script_enabled=False) as tab:
        fill_job_form(tab, embedded, "Clicked plainly")
        tab.get_by_role("button", name="Start job").click(click_count=2, delay=20)
        expect(tab.locator("h1")).to_have_text("Clicked plainly")
    assert count_jobs(embedded, "Clicked plainly") == 1


def test_preset_keeps_what_was_typed(tab: Page, embedded: Stack) -> None:
    fill_job_form(tab, embedded, "Typed first")
    tab.get_by_role("link", name="Quick").click()
    expect(tab.get_by_role("link", name="Quick")).to_have_attribute("aria-current", "true")
    expect(tab.get_by_label("Name", exact=True)).to_have_value("Typed first")
    expect(tab.get_by_label("Notes")).to_have_value("What I want to know")
    assert tab.get_by_label("Epochs", exact=True).input_value() != "3"  # the preset sets them


def test_typed_values_are_restored_after_the_session_expired(
    chromium: Browser, embedded: Stack
) -> None:
    share_dataset(embedded)
    with person(chromium, embedded, who="bob", expected="401|403") as tab:
        fill_job_form(tab, embedded, "Kept")
        tab.context.clear_cookies(name="sessionid")
        tab.get_by_role("button", name="Start job").click()
        expect(tab.get_by_text("what you typed is kept")).to_be_visible()
        sign_in(tab)
        expect(tab.get_by_label("Name", exact=True)).to_have_value("Kept")
        expect(tab.get_by_label("Notes")).to_have_value("What I want to know")
        expect(tab.get_by_label("Learning rate")).to_have_value("0,002")
        tab.get_by_role("button", name="Start job").click()
        expect(tab.locator("h1")).to_have_text("Kept")
        job_id = urlsplit(tab.url).path.rsplit("/", 1)[1]
        assert embedded.job(job_id)["config"]["learning_rate"] == 0.002

        tab.context.clear_cookies(name="sessionid")
        tab.evaluate("fetch('/login')")  # another tab
        tab.locator(".share-with summary").click()
        tab.get_by_role("button", name="Share").click()
        sign_in(tab)
        expect(tab.locator("h1")).to_have_text("Kept")


def test_typed_values_survive_a_sign_in_in_another_tab(chromium: Browser, embedded: Stack) -> None:
    share_dataset(embedded)
    with person(chromium, embedded, who="bob", expected="401|403") as tab:
        # The first tests ended the stored session of bob. The CSRF cookie stays: without it, a
        # request of the page that is still under way would get another than the sign-in form.
        tab.context.clear_cookies(name="sessionid")
        tab.goto(f"{embedded.url}/jobs")
        sign_in(tab)
        fill_job_form(tab, embedded, "Two tabs")
        other = tab.context.new_page()
        other.goto(f"{embedded.url}/jobs")
        other.get_by_role("button", name="Sign out").click()
        sign_in(other)
        expect(other.get_by_role("button", name="Sign out")).to_be_visible()
        tab.get_by_role("button", name="Start job").click()
        expect(tab.get_by_text("check it and submit it again")).to_be_visible()
        expect(tab.get_by_label("Name", exact=True)).to_have_value("Two tabs")
        tab.get_by_role("button", name="Start job").click()
        expect(tab.locator("h1")).to_have_text("Two tabs")


def test_artifacts_are_listed_without_javascript(
    chromium: Browser, embedded: Stack, finished: list[str]
) -> None:
    with person(chromium, embedded, java_script_enabled=False) as tab:
        tab.goto(f"{embedded.url}/jobs/{finished[0]}")
        link = tab.locator("#artifacts").get_by_role("link", name="model.safetensors")
        with tab.expect_download() as started:
            link.click()
        assert started.value.path().stat().st_size > 1000
