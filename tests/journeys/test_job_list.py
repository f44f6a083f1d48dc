"""The list of jobs: selection, bulk actions, filters, columns, projects."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import JOURNEY, PATIENCE, person
from tests.stack import Stack

pytestmark = JOURNEY


@pytest.mark.parametrize("script", [True, False])
def test_selected_jobs_are_cancelled_after_confirmation_and_deleted(
    chromium: Browser, embedded: Stack, script: bool
) -> None:
    word = "scripted" if script else "plain"
    for index in range(3):
        embedded.submit(epochs=5000, patience=5000, name=f"Bulk {word} {index}")
    with person(chromium, embedded, java_script_enabled=script) as tab:
        tab.goto(f"{embedded.url}/jobs?search=Bulk+{word}")
        if script:
            expect(tab.get_by_role("button", name="Pause")).to_be_hidden()
            tab.get_by_label("Select all jobs on this page").check()
            expect(tab.locator("#chosen")).to_have_text("3 selected")
        else:
            for box in tab.locator("#jobs input[type=checkbox]").all():
                box.check()
        tab.get_by_role("button", name="Cancel", exact=True).click()
        expect(tab.locator("h1")).to_have_text("Cancel 3 jobs?")
        tab.get_by_role("button", name="Cancel jobs").click()
        expect(tab.get_by_text("Cancellation requested for 3 jobs.")).to_be_visible()
        assert tab.url.endswith(f"/jobs?search=Bulk+{word}")


def test_filters_and_columns_are_chosen_in_forms(
    tab: Page, embedded: Stack, finished: list[str]
) -> None:
    tab.goto(f"{embedded.url}/jobs?search=step")
    tab.get_by_text("Filter and sort").click()
    tab.get_by_label("Parameter or metric").fill("learning_rate")
    tab.get_by_label("Value").fill("0.01")
    tab.get_by_role("button", name="Apply").click()
    expect(tab.locator("#jobs tr")).to_have_count(1)
    expect(tab.locator("#jobs")).to_contain_text("Large step")
    tab.get_by_text("Columns", exact=True).click()
    parameters = tab.get_by_role("group", name="Parameters")
    parameters.get_by_label("Learning rate").check()
    tab.get_by_role("button", name="Show columns").click()
    expect(tab.locator("thead")).to_contain_text("Learning rate")
    expect(tab.locator("#jobs")).to_contain_text("0.01")
    tab.get_by_label("Remove the filter learning_rate = 0.01").click()
    expect(tab.locator("#jobs tr")).to_have_count(2)
    tab.get_by_role("link", name="Job", exact=True).click()
    expect(tab.locator("#jobs tr").first).to_contain_text("Large step")
    assert "columns=param.learning_rate" in tab.url


def test_metric_column_is_live(tab: Page, embedded: Stack) -> None:
    job_id = embedded.submit(epochs=5000, patience=5000, name="Column")
    tab.goto(f"{embedded.url}/jobs?search=Column&columns=metric.val_loss")
    expect(tab.locator("#live")).to_contain_text("Live")
    cell = tab.locator("[data-live-metric=val_loss]")
    expect(cell).not_to_have_text("–", timeout=PATIENCE)
    shown = cell.inner_text()
    expect(cell).not_to_have_text(shown)
    with embedded.api() as api:
        api.post(f"/jobs/{job_id}/cancel")


def test_project_is_created_and_receives_a_job(tab: Page, embedded: Stack) -> None:
    tab.goto(f"{embedded.url}/projects")
    tab.get_by_role("link", name="New project").click()
    tab.get_by_label("Name").fill("Alps")
    tab.get_by_role("button", name="Create project").click()
    expect(tab.locator("h1")).to_have_text("Alps")
    tab.get_by_role("link", name="New job").click()
    expect(tab.get_by_label("Project")).to_have_value("Alps")
    tab.get_by_label("Epochs", exact=True).fill("1")
    tab.get_by_role("button", name="Start job").click()
    tab.get_by_role("link", name="Alps").click()
    expect(tab.locator("tbody")).to_contain_text(["training"])
    tab.get_by_role("link", name="Delete").click()
    tab.get_by_role("button", name="Delete project").click()
    expect(tab.get_by_text("Deleted Alps. Its jobs were kept.")).to_be_visible()
