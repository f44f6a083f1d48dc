"""Rate limits: for each user, and for each address that asks for tokens.

draft-ietf-httpapi-ratelimit-headers. The counters are rows (`accounts.rate_limits`): every process
sees the same ones, and nothing but the database is needed for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from training import request_context
from training.accounts.rate_limits import MINUTE, RateLimitResult, rate_limiter
from training.middleware import Around, middleware

if TYPE_CHECKING:  # its import asks the settings for the classes below
    from rest_framework.views import APIView


class _Throttle(BaseThrottle):
    name: str
    _result: RateLimitResult

    def allow_request(self, request: Request, view: APIView) -> bool:
        who = self.who(request)
        if who is None:
            return True
        limit = self.limit()
        self._result = result = rate_limiter.acquire(f"{self.name}:{who}", limit)
        request._request.META[__name__] = {  # noqa: SLF001  (DRF hides it, and middleware sees no other)
            "RateLimit-Policy": f'"{self.name}";q={limit};w={MINUTE}',
            "RateLimit": f'"{self.name}";r={result.remaining};t={result.reset}',
        }
        return result.granted

    def wait(self) -> float:
        return self._result.reset

    def who(self, request: Request) -> str | None:
        raise NotImplementedError

    def limit(self) -> int:
        raise NotImplementedError


class PerUser(_Throttle):
    """HEIMDALL_REQUESTS_PER_MINUTE, with whatever token or session."""

    name = "user"

    def who(self, request: Request) -> str | None:
        return str(request.user.pk) if request.user else None

    def limit(self) -> int:
        return int(settings.REQUESTS_PER_MINUTE)


class PerAddress(_Throttle):
    """HEIMDALL_SIGN_INS_PER_MINUTE: guessing passwords is slow."""

    name = "address"

    def who(self, request: Request) -> str | None:
        return request_context.client_address(request)

    def limit(self) -> int:
        return int(settings.SIGN_INS_PER_MINUTE)


@middleware
def rate_limit_headers(request: HttpRequest) -> Around:
    """Each answer that was counted says what is left."""
    response = yield
    for name, value in request.META.get(__name__, {}).items():
        response.headers[name] = value
