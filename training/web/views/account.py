"""The account page: password, e-mail address, sessions and API tokens of the signed-in user."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from training.accounts import audit, limits, passwords, sessions, tokens
from training.accounts.permissions import signed_in_user
from training.accounts.sign_in_limits import confirm_password
from training.models import ApiToken, UserSession
from training.models.scopes import DEFAULT_SCOPES, SCOPES
from training.validation import InvalidInputError
from training.web.create_once import create_once
from training.web.form_errors import ValidatedForm
from training.web.forms import add_validation_errors
from training.web.number_fields import WholeNumberField
from training.web.sign_in import sign_in_required
from training.web.views.responses import HttpResponseSeeOther, redirect_see_other

# In the state of one sign-in at the provider: the password was confirmed, and the identity may be
# connected. In the session it would outlast a sign-in that is given up.
CONNECT_CONFIRMED = "confirmed"
RULES_OF_NEW_ONES = "At least 8 characters, and not a common one."
GET_OR_POST = ["GET", "HEAD", "POST"]


class PasswordForm(PasswordChangeForm):
    revoke_tokens = forms.BooleanField(
        required=False,
        label="Revoke all API tokens too",
        help_text="Otherwise tokens that were created with the old password stay valid.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The page has more than this form.
        self.fields["old_password"].widget.attrs.pop("autofocus", None)
        self.fields["new_password1"].help_text = RULES_OF_NEW_ONES
        self.fields["new_password2"].help_text = ""

    def clean_old_password(self) -> str:
        return _confirmed(self.user, self.cleaned_data["old_password"])


class ConfirmedForm(forms.Form):
    """Asks for the password: a stolen session must not be enough."""

    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def clean_password(self) -> str:
        return _confirmed(self._user, self.cleaned_data["password"])


class ConnectForm(ConfirmedForm):
    prefix = "connect"


class EmailForm(ConfirmedForm):
    email = forms.EmailField(
        required=False,
        label="E-mail address",
        help_text="Links to reset the password are sent to this address.",
    )
    field_order = ("email", "password")

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.fields["email"].initial = user.email


class TokenForm(ValidatedForm):
    name = forms.CharField(
        max_length=100, required=False, help_text="The program or host that uses it."
    )
    days = WholeNumberField(min_value=1, label="Days until it expires")
    scopes = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple,
        label="Scopes",
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        days = self.fields["days"]
        days.initial = tokens.default_days()
        days.help_text = f"At most {settings.TOKEN_MAX_DAYS}."
        scopes = cast(forms.MultipleChoiceField, self.fields["scopes"])
        scopes.initial = list(DEFAULT_SCOPES)
        scopes.choices = [
            (name, f"{name}: {text}")
            for name, text in SCOPES.items()
            if name != "admin" or user.is_staff
        ]


def _confirmed(user: User, password: str) -> str:
    """Validate the user's password, with limited attempts in case the session was stolen."""
    problem = confirm_password(user, password)
    if problem:
        raise forms.ValidationError(problem)
    return password


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as shown; `id` identifies it without revealing the key, which would sign in."""

    id: str
    row: UserSession
    is_current: bool


@require_safe
@sign_in_required
def account(request: HttpRequest) -> HttpResponse:
    return _render(request)


@sensitive_post_parameters()
@require_http_methods(GET_OR_POST)
@sign_in_required
def change_password(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    if request.method != "POST" or not user.has_usable_password():
        return redirect_see_other("account")
    form = PasswordForm(user, request.POST)
    if not form.is_valid():
        return _render(request, password_form=form)
    with_tokens = form.cleaned_data["revoke_tokens"]
    with transaction.atomic():
        form.save()
        update_session_auth_hash(request, user)
        keep = request.session.session_key or ""
        passwords.end_access(user, keep_session=keep, with_tokens=with_tokens)
    also = ", and your API tokens were revoked" if with_tokens else ""
    messages.success(request, f"Password changed. You are signed out everywhere else{also}.")
    return redirect_see_other("account")


@sensitive_post_parameters()
@require_http_methods(GET_OR_POST)
@sign_in_required
def change_email(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    if request.method != "POST":
        return redirect_see_other("account")
    form = EmailForm(user, request.POST)
    if not form.is_valid():
        return _render(request, email_form=form)
    with transaction.atomic():
        audit.record("e-mail changed", user)
        User.objects.filter(pk=user.pk).update(email=form.cleaned_data["email"])
    messages.success(request, "Saved.")
    return redirect_see_other("account")


@require_http_methods(GET_OR_POST)
@sign_in_required
def create_token(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    if request.method != "POST":
        return redirect_see_other("account")
    form = TokenForm(user, request.POST)
    if not form.is_valid():
        return _render(request, token_form=form)
    data = form.cleaned_data
    created: list[str] = []

    def create() -> ApiToken:
        row, token = tokens.create_token(user, data["name"], data["days"], data["scopes"])
        created.append(token)
        return row

    try:
        creation = create_once(request, "account", create, url=reverse("account"))
    except InvalidInputError as error:
        add_validation_errors(form, error)
        return _render(request, token_form=form)
    # Shown in the response to the POST: the token is stored nowhere, so no other page could.
    if created:
        return _render(request, new_token=created[0])
    messages.warning(
        request, "The token was already created and shown once. Revoke it if you lost it."
    )
    return HttpResponseSeeOther(creation.url)


@require_http_methods(GET_OR_POST)
@sign_in_required
def revoke_token(request: HttpRequest, pk: int) -> HttpResponse:
    if request.method == "POST":
        rows = ApiToken.objects.filter(user=signed_in_user(request))
        tokens.revoke_token(get_object_or_404(rows, pk=pk))
        messages.success(request, "Token revoked.")
    return redirect_see_other("account")


@require_http_methods(GET_OR_POST)
@sign_in_required
def end_session(request: HttpRequest, session_id: str) -> HttpResponse:
    if request.method == "POST":
        shown = {session.id: session for session in _sessions(request)}
        if session_id in shown:
            sessions.end_session(shown[session_id].row)
            messages.success(request, "Session ended.")
        else:
            messages.warning(request, "That session has already ended.")
    return redirect_see_other("account")


@require_http_methods(GET_OR_POST)
@sign_in_required
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        keep = request.session.session_key or ""
        sessions.end_sessions(signed_in_user(request), keep=keep)
        messages.success(request, "You are signed out everywhere else.")
    return redirect_see_other("account")


@sensitive_post_parameters()
@require_http_methods(GET_OR_POST)
@sign_in_required
def connect_oidc(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    if request.method != "POST" or not settings.OIDC_PROVIDER_ID:
        return redirect_see_other("account")
    form = ConnectForm(user, request.POST)
    if not form.is_valid():
        return _render(request, connect_form=form)
    import requests
    from allauth.socialaccount.adapter import get_adapter

    provider = get_adapter().get_provider(request, settings.OIDC_PROVIDER_ID)
    try:
        there: HttpResponse = provider.redirect(
            request, process="connect", **{CONNECT_CONFIRMED: True}
        )
    except (requests.RequestException, KeyError):
        messages.error(request, f"{settings.OIDC_NAME} cannot be reached. Try again later.")
        return redirect_see_other("account")
    return there


@require_http_methods(GET_OR_POST)
@sign_in_required
def disconnect_oidc(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    if request.method == "POST" and settings.OIDC_PROVIDER_ID and user.has_usable_password():
        audit.record("sign-in disconnected", user, of=settings.OIDC_NAME)
        _connections(user).delete()
        messages.success(request, "Disconnected.")
    return redirect_see_other("account")


def _connections(user: User) -> QuerySet[Any]:
    """The user's accounts at the OpenID Connect provider."""
    # An installed app only if there is one.
    from allauth.socialaccount.models import SocialAccount

    rows: QuerySet[Any] = SocialAccount.objects.filter(user=user)
    return rows


def _sessions(request: HttpRequest) -> list[SessionRow]:
    rows = sessions.sessions_of(signed_in_user(request)).select_related("user")
    current = request.session.session_key
    return [
        SessionRow(
            hashlib.sha256(row.session_key.encode()).hexdigest()[:20],
            row,
            row.session_key == current,
        )
        for row in rows
    ]


def _render(
    request: HttpRequest,
    *,
    password_form: PasswordForm | None = None,
    email_form: EmailForm | None = None,
    token_form: TokenForm | None = None,
    connect_form: ConnectForm | None = None,
    new_token: str = "",
) -> HttpResponse:
    user = signed_in_user(request)
    context = {
        "limits": limits.usage(user),
        "password_form": password_form or PasswordForm(user),
        "email_form": email_form or EmailForm(user),
        "token_form": token_form or TokenForm(user),
        "connect_form": connect_form or ConnectForm(user),
        "has_password": user.has_usable_password(),
        "sends_email": settings.SENDS_EMAIL,
        "oidc_provider": settings.OIDC_PROVIDER_ID,
        "oidc_name": settings.OIDC_NAME,
        "connected": bool(settings.OIDC_PROVIDER_ID) and _connections(user).exists(),
        "sessions": _sessions(request),
        "tokens": ApiToken.objects.filter(tokens.valid(), user=user),
        "new_token": new_token,
    }
    is_invalid = bool(password_form or email_form or token_form or connect_form)
    response = render(request, "training/account.html", context, status=400 if is_invalid else 200)
    add_never_cache_headers(response)
    return response
