"""Resetting a forgotten password by a link that is sent by e-mail; only where mail can be sent."""

from __future__ import annotations

import logging
import threading
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import PasswordResetForm, SetPasswordForm
from django.contrib.auth.views import PasswordResetConfirmView, PasswordResetView
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template import loader
from django.urls import reverse_lazy

from training import request_context
from training.accounts import audit, passwords
from training.accounts.rate_limits import rate_limiter

MAILS_PER_MINUTE = 1  # per account

log = logging.getLogger(__name__)


class ResetForm(PasswordResetForm):
    def send_mail(
        self,
        subject_template_name: str,
        email_template_name: str,
        context: dict[str, Any],
        from_email: str | None,
        to_email: str,
        html_email_template_name: str | None = None,
    ) -> None:
        user = context["user"]
        if not rate_limiter.acquire(f"reset:{user.pk}", MAILS_PER_MINUTE).granted:
            return
        audit.record("password reset requested", user, of=user.username)
        subject = " ".join(loader.render_to_string(subject_template_name, context).split())
        body = loader.render_to_string(email_template_name, context)
        message = EmailMultiAlternatives(subject, body, from_email, [to_email])
        # In a thread: the time of the response must not reveal whether there is such an account.
        threading.Thread(target=_send, args=(message,), name="password reset", daemon=True).start()


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]
    revoke_tokens = forms.BooleanField(required=False, label="Revoke all API tokens too")


class ResetView(PasswordResetView):
    """Answers the same, whether there is an account or not."""

    form_class = ResetForm
    template_name = "registration/reset_request.html"
    email_template_name = "registration/reset_email.txt"
    subject_template_name = "registration/reset_subject.txt"
    success_url = reverse_lazy("login")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _require_email()
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        key = f"address:{request_context.client_network(request)}"
        limit = rate_limiter.acquire(key, settings.SIGN_INS_PER_MINUTE)
        if limit.granted:
            return super().post(request, *args, **kwargs)
        messages.error(
            request, f"Too many attempts from your address; try again in {limit.reset} seconds."
        )
        response = self.render_to_response(
            self.get_context_data(form=ResetForm(request.POST)), status=429
        )
        response["Retry-After"] = str(limit.reset)
        return response

    def form_valid(self, form: Any) -> HttpResponse:
        messages.success(
            self.request,
            "If an account has this address, a link to set a new password was sent there. "
            f"It is valid for {settings.PASSWORD_RESET_TIMEOUT // 3600} hours.",
        )
        return super().form_valid(form)


class SetPasswordView(PasswordResetConfirmView):
    """The page behind the link."""

    form_class = NewPasswordForm
    template_name = "registration/reset_confirm.html"
    success_url = reverse_lazy("login")

    def dispatch(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _require_email()
        return super().dispatch(*args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        with transaction.atomic():
            response = super().form_valid(form)
            with_tokens = form.cleaned_data["revoke_tokens"]
            passwords.end_access(form.user, with_tokens=with_tokens)
        messages.success(self.request, "Password changed. Sign in with the new one.")
        return response


def _require_email() -> None:
    if not settings.SENDS_EMAIL:
        raise Http404("EMAIL_URL is not set.")


def _send(message: EmailMultiAlternatives) -> None:
    try:
        message.send()
    except Exception:
        log.exception("Sending a password reset failed; see EMAIL_URL.")
