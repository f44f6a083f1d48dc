"""Sign-in through a real OpenID Connect provider in a separate process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from django.conf import settings

from tests import oidc_provider
from tests.stack import PASSWORD, Stack, running_stack

pytestmark = [pytest.mark.xdist_group("oidc"), pytest.mark.timeout(240)]
NEW, TAKEN = "s-1 eve eve@example.org", "s-2 ada x@example.org"


@contextmanager
def provider(user: str) -> Iterator[int]:
    """The port of a provider that signs in this user."""
    command = [sys.executable, str(Path(oidc_provider.__file__)), *user.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def variables(port: int, **more: str) -> dict[str, str]:
    return {
        "HEIMDALL_OIDC_ISSUER": f"http://127.0.0.1:{port}",
        "HEIMDALL_OIDC_CLIENT_ID": oidc_provider.CLIENT_ID,
        "HEIMDALL_OIDC_CLIENT_SECRET": oidc_provider.CLIENT_SECRET,
        "HEIMDALL_OIDC_NAME": "Lab",
        **more,
    }


@contextmanager
def installation(folder: Path, user: str, **more: str) -> Iterator[Stack]:
    with provider(user) as port, running_stack(folder, "", 0, **variables(port, **more)) as stack:
        yield stack


def submit(client: httpx.Client, page: str, marker: str, data: dict[str, str]) -> httpx.Response:
    """Send the form of the page whose action contains `marker`."""
    html = client.get(page).text
    tags = re.findall(r"<form[^>]*>", html)
    actions = [re.search(r'action="([^"]*)"', tag) for tag in tags]
    found = [action.group(1) for action in actions if action]
    target = next(action for action in found if marker in action).replace("&amp;", "&")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', html)
    assert token
    return client.post(target, data={"csrfmiddlewaretoken": token.group(1), **data})


def browser(stack: Stack) -> httpx.Client:
    return httpx.Client(base_url=stack.url, follow_redirects=True, timeout=30)


def sign_in_there(client: httpx.Client) -> httpx.Response:
    return submit(client, "/login", "/oidc/sso/login/", {})


def test_new_user_gets_an_account_and_signs_in_again(tmp_path: Path) -> None:
    with installation(tmp_path, NEW) as stack:
        for _ in range(2):
            with browser(stack) as client:
                first = client.get("/login")
                assert "Sign in with Lab" in first.text
                policy = first.headers["Content-Security-Policy"]
                assert f"form-action 'self' {stack.environment['HEIMDALL_OIDC_ISSUER']}" in policy
                page = sign_in_there(client)
                assert page.status_code == 200 and page.url.path == "/jobs", page.text
                account = client.get("/account").text
                assert "Signed in as <b>eve</b>" in account
                assert "it has no password" in account
                assert 'name="old_password"' not in account
        with stack.api("grace") as api:
            assert api.get("/jobs").status_code == 200
        audit = stack.python(
            "-c",
            "import django; django.setup()\n"
            "from training.models import AuditEntry\n"
            "print(list(AuditEntry.objects.filter(actor='eve').order_by('pk')"
            ".values_list('action', flat=True)))",
        )
        assert "['created', 'sign in', 'sign in']" in audit


def test_account_of_the_same_name_is_connected_by_its_user_only(tmp_path: Path) -> None:
    with installation(tmp_path, TAKEN) as stack:
        with browser(stack) as stranger:
            page = sign_in_there(stranger)
            assert page.url.path == "/login"
            assert "An account with this name or address already exists." in page.text
        with browser(stack) as client:
            submit(client, "/login", "/login", {"username": "ada", "password": PASSWORD})
            confirmed = {"connect-password": PASSWORD}
            wrong = submit(client, "/account", "/oidc/connect", {"connect-password": "guess"})
            assert "This is not your current password." in wrong.text
            page = submit(client, "/account", "/oidc/connect", confirmed)
            assert page.url.path == "/account", page.text
            assert "Your account is connected to Lab." in page.text
        with browser(stack) as client:
            assert sign_in_there(client).url.path == "/jobs"
            assert "Signed in as <b>ada</b>" in client.get("/account").text
        with browser(stack) as other:
            submit(other, "/login", "/login", {"username": "bob", "password": PASSWORD})
            page = submit(other, "/account", "/oidc/connect", confirmed)
            assert "is already connected to another account" in page.text
        with browser(stack) as client:
            sign_in_there(client)
            submit(client, "/account", "/oidc/disconnect", {})
        with browser(stack) as client:
            assert sign_in_there(client).url.path == "/login"


def test_confirmed_password_connects_one_identity_only(tmp_path: Path) -> None:
    with installation(tmp_path, NEW) as stack, browser(stack) as client:
        submit(client, "/login", "/login", {"username": "ada", "password": PASSWORD})
        client.cookies.set("deny", "1", domain="127.0.0.1")
        page = submit(client, "/account", "/oidc/connect", {"connect-password": PASSWORD})
        assert "You were not signed in through Lab." in page.text
        client.cookies.delete("deny", domain="127.0.0.1", path="/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        page = client.post(
            "/oidc/sso/login/?process=connect&confirmed=1",
            data={"csrfmiddlewaretoken": token.group(1)},
        )
        assert page.url.path == "/account"
        assert "Connect your account on the account page." in page.text


def test_unknown_users_get_no_account_if_creation_is_disabled(tmp_path: Path) -> None:
    no_users = {"HEIMDALL_OIDC_CREATES_USERS": "0"}
    with installation(tmp_path, NEW, **no_users) as stack, browser(stack) as client:
        page = sign_in_there(client)
        assert page.url.path == "/login"
        assert "You have no account here. Ask an operator to create one." in page.text


def test_rejected_and_forged_provider_responses_redirect_to_the_sign_in_page(
    tmp_path: Path,
) -> None:
    with installation(tmp_path, NEW) as stack:
        with browser(stack) as client:
            client.cookies.set("deny", "1", domain="127.0.0.1")
            page = sign_in_there(client)
            assert page.url.path == "/login"
            assert "You were not signed in through Lab." in page.text
        with browser(stack) as client:
            page = client.get("/oidc/sso/login/callback/?code=x&state=y")
            assert page.url.path == "/login"
            assert "Lab did not sign you in." in page.text
            assert client.get("/oidc/other/login/").status_code == 404


def test_identity_with_unstorable_text_is_rejected(tmp_path: Path) -> None:
    user = r"s\u0000 eve eve@example.org"
    with installation(tmp_path, user) as stack, browser(stack) as client:
        page = sign_in_there(client)
        assert page.url.path == "/login"
        assert "Lab sent an identity that cannot be stored." in page.text


def test_unreachable_provider_gets_an_error_message(tmp_path: Path) -> None:
    with running_stack(tmp_path, "", 0, **variables(9)) as stack, browser(stack) as client:
        page = sign_in_there(client)
        assert page.url.path == "/login"
        assert "Lab cannot be reached. Try again later." in page.text


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"HEIMDALL_OIDC_ISSUER": "http://idp.example.org"}, "heimdall.E022"),
        ({"HEIMDALL_OIDC_ISSUER": "idp"}, "heimdall.E022"),
        (
            {"HEIMDALL_OIDC_ISSUER": "https://idp.example.org", "HEIMDALL_OIDC_CLIENT_ID": "x"},
            "HEIMDALL_OIDC_ISSUER is set, but not HEIMDALL_OIDC_CLIENT_SECRET.",
        ),
    ],
)
def test_incomplete_configuration_is_named(
    tmp_path: Path, environment: dict[str, str], message: str
) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=settings.BASE_DIR,
        env={**os.environ, "HEIMDALL_DATA_DIR": str(tmp_path), "DATABASE_URL": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
