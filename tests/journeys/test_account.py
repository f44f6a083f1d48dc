"""The account page in a browser: password, tokens and sessions."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.journeys.conftest import JOURNEY, person
from tests.stack import PASSWORD, Stack

pytestmark = JOURNEY
NEW = "quite-another-1"


def test_user_creates_and_revokes_a_token(chromium: Browser, embedded: Stack) -> None:
    with person(chromium, embedded) as page:
        page.get_by_role("link", name="Account of ada").click()
        page.get_by_text("Create a token").click()
        page.get_by_label("Name", exact=True).fill("notebook")
        page.get_by_label(re.compile(r"^\s*train:")).uncheck()
        page.get_by_role("button", name="Create token").click()
        token = page.locator("[data-token]").inner_text()
        headers = {"Authorization": f"Bearer {token}"}
        jobs = f"{embedded.url}/api/v1/training/jobs"
        assert httpx.get(jobs, headers=headers).status_code == 200
        assert httpx.post(jobs, headers=headers, json={}).status_code == 403
        page.goto(f"{embedded.url}/account")
        expect(page.locator("[data-token]")).to_have_count(0)
        page.get_by_role("button", name="Revoke token notebook").click()
        expect(page.get_by_text("Token revoked.")).to_be_visible()
        assert httpx.get(jobs, headers=headers).status_code == 401


@pytest.fixture
def user(embedded: Stack) -> str:
    embedded.python(
        "-c",
        "import django; django.setup()\n"
        "from django.contrib.auth.models import User\n"
        f"User.objects.create_user('mary', password={PASSWORD!r})",
    )
    return "mary"


def test_new_password_signs_out_elsewhere(chromium: Browser, embedded: Stack, user: str) -> None:
    with (
        person(chromium, embedded, user) as here,
        person(chromium, embedded, user, storage_state=None) as there,
    ):
        if there.url.endswith("/login?next=/jobs"):
            there.get_by_label("Username").fill(user)
            there.get_by_label("Password").fill(PASSWORD)
            there.get_by_role("button", name="Sign in").click()
        expect(there).to_have_url(f"{embedded.url}/jobs")
        here.goto(f"{embedded.url}/account")
        here.get_by_label("Old password").fill(PASSWORD)
        here.get_by_label("New password", exact=True).fill(NEW)
        here.get_by_label("New password confirmation").fill(NEW)
        here.get_by_role("button", name="Change password").click()
        expect(here.get_by_text("You are signed out everywhere else.").first).to_be_visible()
        here.goto(f"{embedded.url}/jobs")
        expect(here).to_have_url(f"{embedded.url}/jobs")
        there.goto(f"{embedded.url}/jobs")
        expect(there).to_have_url(re.compile("/login"))
