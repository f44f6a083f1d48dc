"""Middleware: every request has a name, which its logs, its answer and its jobs carry."""

from __future__ import annotations

import logging
import time

from django.http import HttpRequest

from heimdall.metrics import HTTP
from training import request_context as context
from training.middleware import Around, middleware

HEADER = "X-Request-ID"

log = logging.getLogger(__name__)


@middleware
def request_context(request: HttpRequest) -> Around:
    """Names the request, measures it, and says both."""
    name, began = context.named_user(request.headers.get(HEADER, "")), time.perf_counter()
    context.request_id.set(name)
    context.request.set(request)
    response = yield
    response.headers[HEADER] = name
    seconds = time.perf_counter() - began
    match = request.resolver_match
    # The route, not the path: what is counted by stays a short list.
    route = (match.route if match else "") or "unknown"
    HTTP.labels(request.method, route, response.status_code).observe(seconds)
    told = (request.method, request.path, response.status_code, 1000 * seconds)
    log.info("%s %s %s in %.1f ms", *told)
