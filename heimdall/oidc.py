"""Sign-in through an OpenID Connect provider, by django-allauth (ADR 38).

Imported only where HEIMDALL_OIDC_ISSUER is set: only then is django-allauth an installed app.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import requests
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.providers.base import AuthError, AuthProcess
from allauth.socialaccount.providers.openid_connect import views
from django.apps import apps
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import include, path, reverse

from heimdall.login import acquire_sign_in
from heimdall.oidc_session import ProviderSession
from heimdall_sdk.text import clean_name, clean_text, clean_values
from training.accounts import audit
from training.accounts.permissions import signed_in_user
from training.web.views.account import CONNECT_CONFIRMED

log = logging.getLogger(__name__)

# In the admin, staff could connect an identity to another user's account without the password.
for _app in ("account", "socialaccount"):
    for _model in apps.get_app_config(_app).get_models():
        if admin.site.is_registered(_model):
            admin.site.unregister(_model)


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False  # only by way of the provider, see below

    def add_message(
        self,
        request: HttpRequest,
        level: int,
        message_template: str | None = None,
        message_context: dict[str, Any] | None = None,
        extra_tags: str = "",
        message: str | None = None,
    ) -> None:
        """Messages after connecting an account; a sign-in shows none."""
        match (message_template or "").rpartition("/")[2]:
            case "account_connected.txt":
                audit.record("sign-in connected", signed_in_user(request).username)
                messages.success(request, f"Your account is connected to {settings.OIDC_NAME}.")
            case "account_connected_other.txt":
                messages.error(
                    request,
                    f"Your {settings.OIDC_NAME} identity is already connected to another account.",
                )

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        return _refuse(request, "This account is deactivated.")


class ProviderAdapter(DefaultSocialAccountAdapter):
    def get_requests_session(self) -> requests.Session:
        return ProviderSession()

    def populate_user(self, request: HttpRequest, sociallogin: Any, data: dict[str, Any]) -> User:
        """The provider's texts, by the rule for those of users; an identity is never changed."""
        account = sociallogin.account
        if clean_text(account.uid) != account.uid:
            self._abort(request, f"{settings.OIDC_NAME} sent an identity that cannot be stored.")
        account.extra_data = clean_values(account.extra_data)
        named = {
            name: clean_name(value) if isinstance(value, str) else value
            for name, value in data.items()
        }
        user: User = super().populate_user(request, sociallogin, named)
        return user

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Reject a new user whose name or address is that of an existing account.

        The provider's word is not enough to take over an account with a password, and users set
        their addresses without proof. Its user connects it on the account page instead.
        """
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            if not sociallogin.state.get(CONNECT_CONFIRMED):
                self._abort(request, "Connect your account on the account page.")
            return
        if sociallogin.is_existing:
            return
        name, email = sociallogin.user.username, sociallogin.user.email
        same = User.objects.filter(username__iexact=name) if name else User.objects.none()
        if email:
            same = same | User.objects.filter(email__iexact=email)
        if same.exists():
            self._abort(
                request,
                "An account with this name or address already exists. Sign in with its password, "
                f"then connect it to {settings.OIDC_NAME} on the account page.",
            )
        if not settings.OIDC_CREATES_USERS:
            self._abort(request, "You have no account here. Ask an operator to create one.")

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return bool(settings.OIDC_CREATES_USERS)

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> User:
        user: User = super().save_user(request, sociallogin, form)
        audit.record("created", user, user.username, by=settings.OIDC_NAME)
        return user

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        return reverse("account")

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: Any = None,
    ) -> None:
        log.warning("Sign-in through %s failed: %s %r", settings.OIDC_NAME, error, exception)
        if error == AuthError.CANCELLED:
            self._abort(request, f"You were not signed in through {settings.OIDC_NAME}.")
        self._abort(request, f"{settings.OIDC_NAME} did not sign you in. Try again.")

    @staticmethod
    def _abort(request: HttpRequest, message: str) -> NoReturn:
        raise ImmediateHttpResponse(_refuse(request, message))


def _refuse(request: HttpRequest, message: str) -> HttpResponse:
    messages.error(request, message)
    return redirect("account" if request.user.is_authenticated else "login")


def _stopped(request: HttpRequest) -> HttpResponse:
    return _refuse(request, f"You were not signed in through {settings.OIDC_NAME}.")


def _sign_in(request: HttpRequest, provider_id: str) -> HttpResponse:
    """django-allauth's view, which reads the provider's configuration first."""
    limit = acquire_sign_in(request)
    if not limit.granted:
        return _refuse(
            request,
            f"Too many sign-in attempts from your address; try again in {limit.reset} seconds.",
        )
    try:
        response: HttpResponse = views.login(request, provider_id)
    except (requests.RequestException, KeyError) as error:
        log.warning("%s cannot be reached: %r", settings.OIDC_NAME, error)
        return _refuse(request, f"{settings.OIDC_NAME} cannot be reached. Try again later.")
    return response


# The names are those that django-allauth redirects to.
urlpatterns = [
    path("oidc/<str:provider_id>/login/", _sign_in, name="openid_connect_login"),
    path("", include("allauth.socialaccount.providers.openid_connect.urls")),
    path("oidc/cancelled", _stopped, name="socialaccount_login_cancelled"),
    path("oidc/error", _stopped, name="socialaccount_login_error"),
    path("oidc/refused", _stopped, name="socialaccount_signup"),
    path("oidc/inactive", _stopped, name="account_inactive"),
    path("oidc/login", _stopped, name="account_login"),
]
