"""Login view. Attempts are rate-limited per IP address, together with token requests and admin
logins."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from training import request_context
from training.accounts.rate_limits import RateLimitResult, rate_limiter
from training.accounts.sign_in_limits import TooManyFailuresError
from training.web import drafts


class RateLimitedLoginView(LoginView):
    """Above HEIMDALL_SIGN_INS_PER_MINUTE from one network, or within the pause after failures at an
    account: 429, without checking the password."""

    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_valid(form)
        drafts.store(self.request, self.request.POST.get(drafts.FIELD, ""))
        return response

    @method_decorator(sensitive_post_parameters())
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        limit = acquire_sign_in(request)
        if not limit.granted:
            return self._too_many(
                f"Too many sign-in attempts from your address; try again in {limit.reset} seconds.",
                limit.reset,
            )
        try:
            return super().post(request, *args, **kwargs)
        except TooManyFailuresError as error:
            return self._too_many(str(error), error.seconds)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            sends_email=settings.SENDS_EMAIL,
            oidc_provider=settings.OIDC_PROVIDER_ID,
            oidc_name=settings.OIDC_NAME,
            **kwargs,
        )

    def _too_many(self, message: str, seconds: int) -> HttpResponse:
        messages.error(self.request, message)
        context = self.get_context_data(form=AuthenticationForm(self.request))
        response = self.render_to_response(context, status=429)
        response["Retry-After"] = str(seconds)
        return response


def acquire_sign_in(request: HttpRequest) -> RateLimitResult:
    """The limit that pages, admin and token requests (`AddressThrottle`) share."""
    key = f"address:{request_context.client_network(request)}"
    return rate_limiter.acquire(key, settings.SIGN_INS_PER_MINUTE)


def admin_login_redirect(request: HttpRequest) -> HttpResponseBase:
    if request.user.is_authenticated:  # but without access to the admin
        raise PermissionDenied
    return redirect_to_login(request.GET.get("next") or reverse("admin:index"))
