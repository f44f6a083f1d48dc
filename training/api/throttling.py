"""Rate limits per user, and per client address for token requests.

The headers follow draft-ietf-httpapi-ratelimit-headers. The counters are database rows
(`accounts.rate_limits`), shared by all processes.
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

if TYPE_CHECKING:  # circular: its import loads the classes below from the settings
    from rest_framework.views import APIView


class _Throttle(BaseThrottle):
    name: str
    _result: RateLimitResult

    def allow_request(self, request: Request, view: APIView) -> bool:
        client = self.identify_client(request)
        if client is None:
            return True
        limit = self.limit()
        self._result = result = rate_limiter.acquire(f"{self.name}:{client}", limit)
        request._request.META[__name__] = {  # noqa: SLF001  (the request that middleware sees)
            "RateLimit-Policy": f'"{self.name}";q={limit};w={MINUTE}',
            "RateLimit": f'"{self.name}";r={result.remaining};t={result.reset}',
        }
        return result.granted

    def wait(self) -> float:
        return self._result.reset

    def identify_client(self, request: Request) -> str | None:
        raise NotImplementedError

    def limit(self) -> int:
        raise NotImplementedError


class UserThrottle(_Throttle):
    """HEIMDALL_REQUESTS_PER_MINUTE for each user, over all tokens and sessions."""

    name = "user"

    def identify_client(self, request: Request) -> str | None:
        return str(request.user.pk) if request.user else None

    def limit(self) -> int:
        return int(settings.REQUESTS_PER_MINUTE)


class ReportThrottle(UserThrottle):
    """Ten times as many for reports: many runs of one user send several batches a second each."""

    name = "report"

    def limit(self) -> int:
        return 10 * super().limit()


class AddressThrottle(_Throttle):
    """HEIMDALL_SIGN_INS_PER_MINUTE: slows down password guessing."""

    name = "address"

    def identify_client(self, request: Request) -> str | None:
        return request_context.client_network(request)

    def limit(self) -> int:
        return int(settings.SIGN_INS_PER_MINUTE)


@middleware
def rate_limit_headers(request: HttpRequest) -> Around:
    response = yield
    for name, value in request.META.get(__name__, {}).items():
        response.headers[name] = value
