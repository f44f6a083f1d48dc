"""Middleware: every request has a name, which its logs, its answer and its jobs carry."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from heimdall.meters import HTTP
from training import context

HEADER = "X-Request-ID"

log = logging.getLogger(__name__)


class RequestContext:
    """Names the request, measures it, and says both."""

    async_capable = sync_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self._later(request)
        name, began = _begin(request), time.perf_counter()
        return _end(request, self._get_response(request), name, began)

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        name, began = _begin(request), time.perf_counter()
        return _end(request, await self._get_response(request), name, began)


def _begin(request: HttpRequest) -> str:
    name = context.named(request.headers.get(HEADER, ""))
    context.request_id.set(name)
    context.request.set(request)
    return name


def _end(
    request: HttpRequest, response: HttpResponseBase, name: str, began: float
) -> HttpResponseBase:
    response.headers[HEADER] = name
    seconds = time.perf_counter() - began
    match = request.resolver_match
    # The route, not the path: what is counted by stays a short list.
    route = (match.route if match else "") or "unknown"
    HTTP.labels(request.method, route, response.status_code).observe(seconds)
    told = (request.method, request.path, response.status_code, 1000 * seconds)
    log.info("%s %s %s in %.1f ms", *told)
    return response
