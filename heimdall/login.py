"""The one door for people: tries are counted by address, those for tokens and the desk included."""

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
    """HEIMDALL_SIGN_INS_PER_MINUTE from one address; then 429, and no password is looked at."""

    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # The same row as that of the API's tokens (`training.api.throttling.PerAddress`).
        who = f"address:{request_context.client_address(request)}"
        standing = rate_limiter.take(who, settings.SIGN_INS_PER_MINUTE)
        if standing.granted:
            return super().post(request, *args, **kwargs)
        messages.error(
            request, f"Too many tries from your address; go on in {standing.reset} seconds."
        )
        empty = self.get_context_data(form=AuthenticationForm(request))
        answer = self.render_to_response(empty, status=429)
        answer["Retry-After"] = str(standing.reset)
        return answer


def admin_login_redirect(request: HttpRequest) -> HttpResponseBase:
    """The desk has no door of its own; who is signed in and gets here may not enter."""
    if request.user.is_authenticated:
        raise PermissionDenied
    return redirect_to_login(request.GET.get("next", "/admin/"))
