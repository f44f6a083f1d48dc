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

from training import request_context
from training.accounts.rate_limits import rate_limiter


class RateLimitedLoginView(LoginView):
    """Above HEIMDALL_SIGN_INS_PER_MINUTE from one address: 429, without checking the password."""

    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # The same row as for token requests (`training.api.throttling.AddressThrottle`).
        key = f"address:{request_context.client_address(request)}"
        limit = rate_limiter.acquire(key, settings.SIGN_INS_PER_MINUTE)
        if limit.granted:
            return super().post(request, *args, **kwargs)
        messages.error(
            request,
            f"Too many sign-in attempts from your address; try again in {limit.reset} seconds.",
        )
        context = self.get_context_data(form=AuthenticationForm(request))
        response = self.render_to_response(context, status=429)
        response["Retry-After"] = str(limit.reset)
        return response


def admin_login_redirect(request: HttpRequest) -> HttpResponseBase:
    if request.user.is_authenticated:  # but without access to the admin
        raise PermissionDenied
    return redirect_to_login(request.GET.get("next", "/admin/"))
