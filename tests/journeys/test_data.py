"""Datasets and the admin, in a real browser."""

from __future__ import annotations

import io
import re
import zipfile

from playwright.sync_api import Browser, FilePayload, Locator, Page, expect

from tests.integration.training.api.test_datasets import TABLES
from tests.journeys.conftest import JOURNEY, PATIENCE, person
from tests.stack import Stack

pytestmark = JOURNEY


def test_generated_dataset_links_to_the_job_form(tab: Page) -> None:
    tab.get_by_role("link", name="Datasets").click()
    made = tab.locator("form", has=tab.get_by_role("button", name="Generate"))
    made.get_by_label("Name").fill("Made here")
    made.get_by_label("Samples").fill("60")
    made.get_by_role("button", name="Generate").click()
    expect(tab.locator("#pill")).to_have_text("Completed", timeout=PATIENCE)
    tab.get_by_role("link", name="Train a model").click()
    expect(tab.get_by_label("Dataset")).to_have_text(re.compile("Made here"))


def upload(tab: Page, name: str, tables: dict[str, str]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as pack:
        for table, text in tables.items():
            pack.writestr(table, text)
    tab.get_by_role("link", name="Datasets").click()
    form = tab.locator("#import-form")
    form.get_by_label("Name").fill(name)
    zipped: FilePayload = {
        "name": "m.zip", "mimeType": "application/zip", "buffer": packed.getvalue(),
    }  # fmt: skip
    form.get_by_label("File", exact=True).set_input_files(zipped)
    form.get_by_role("button", name="Import").click()


def test_import_succeeds_or_shows_file_line_and_reason(chromium: Browser, embedded: Stack) -> None:
    with person(chromium, embedded) as tab:
        upload(tab, "Measured here", TABLES)
        expect(tab.get_by_text("Imported 3 samples.")).to_be_visible()
        expect(tab.locator("h1")).to_have_text("Measured here")
        expect(tab.locator("svg.map")).to_be_visible()
    with person(chromium, embedded, expected="status of 400") as tab:
        upload(tab, "Broken", {**TABLES, "samples.csv": "sample_id,lat,lon\na,x,7\n"})
        refused = tab.locator("#import-form .error")
        expect(refused).to_contain_text("samples.csv line 2: lat 'x' is not a number.")
        expect(tab.locator("#import-form").get_by_label("Name")).to_have_value("Broken")


def choose_table(form: Locator, text: str) -> None:
    file: FilePayload = {"name": "mine.csv", "mimeType": "text/csv", "buffer": text.encode()}
    form.get_by_label("File", exact=True).set_input_files(file)


def test_spreadsheet_is_checked_then_imported(chromium: Browser, embedded: Stack) -> None:
    rows = "".join(f"{45 + n / 100},{7.5 + n / 50},{-80 - n},{-70 - n}\n" for n in range(30))
    with person(chromium, embedded, expected="status of 400") as tab:
        tab.get_by_role("link", name="Datasets").click()
        form = tab.locator("#import-form")
        choose_table(form, f"latitude,longitude,hill,town\n45,north,-80,-70\n{rows}")
        form.get_by_role("button", name="Check").click()
        expect(form.get_by_text("mine.csv line 2: lon 'north' is not a number.")).to_be_visible(
            timeout=PATIENCE
        )
        choose_table(form, f"latitude,longitude,hill,town\n{rows}")
        form.get_by_label("Name").fill("Spreadsheet")
        form.get_by_role("button", name="Import").click()
        # The mapping belonged to the other file, so the columns are shown once more.
        expect(form.get_by_text("Ready to import")).to_be_visible(timeout=PATIENCE)
        form.get_by_role("button", name="Import").click()
        expect(tab.locator("h1")).to_have_text("Spreadsheet", timeout=PATIENCE)
        expect(tab.get_by_text("Imported 30 samples.")).to_be_visible()


def test_spreadsheet_is_imported_without_javascript(chromium: Browser, embedded: Stack) -> None:
    rows = "".join(f"{45 + n / 100},{7.5 + n / 50},{-80 - n},100\n" for n in range(30))
    table = f"latitude,longitude,hill,town\n{rows}46,8,-90,-80\n"
    with person(chromium, embedded, java_script_enabled=False) as tab:
        tab.goto(f"{embedded.url}/datasets")
        form = tab.locator("#import-form")
        for _ in range(2):  # the second time with the columns that the first one guessed
            form.get_by_label("Name").fill("Without scripts")
            choose_table(form, table)
            form.get_by_role("button", name="Import").click()
            if tab.locator("h1").inner_text() == "Datasets":
                expect(form.get_by_text("Ready to import")).to_be_visible()
                expect(form.get_by_text("read as not heard")).to_be_visible()
        expect(tab.locator("h1")).to_have_text("Without scripts")


def test_admin_job_list_is_live_and_cancels_jobs(chromium: Browser, embedded: Stack) -> None:
    job_id = embedded.submit(epochs=5000, patience=5000, name="In the admin")
    with person(chromium, embedded, who="grace") as admin:
        admin.goto(f"{embedded.url}/admin/training/job/?q=In+the+admin")
        row = admin.locator("tr", has=admin.locator(f"[data-job='{job_id}']"))
        expect(row.locator("[data-field=state]")).to_have_text("Running", timeout=PATIENCE)
        expect(row.locator("[data-field=epoch]")).to_have_text(
            re.compile(r"[1-9][\d,]* / 5,000"), timeout=PATIENCE
        )
        row.get_by_role("checkbox").check()
        admin.get_by_label("Action:").select_option("cancel")
        admin.get_by_role("button", name="Run").or_(admin.get_by_role("button", name="Go")).click()
        expect(admin.locator(".messagelist")).to_contain_text(
            "In the admin: Cancellation requested"
        )
        expect(row.locator("[data-field=state]")).to_have_text("Cancelled", timeout=PATIENCE)
        admin.goto(f"{embedded.url}/admin/")
        expect(admin.locator(".cards")).to_contain_text("running")
