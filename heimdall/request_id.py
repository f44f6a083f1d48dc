"""Middleware that assigns a request id, which logs, response and created jobs contain."""

from __future__ import annotations

import logging
import time

from django.http import HttpRequest

from heimdall.metrics import HTTP
from training import request_context
from training.middleware import Around, middleware

HEADER = "X-Request-ID"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = logging.getLogger(__name__)


@middleware
def request_id_middleware(request: HttpRequest) -> Around:
    request_id, started_at = (
        request_context.named_user(request.headers.get(HEADER, "")),
        time.perf_counter(),
    )
    request_context.request_id.set(request_id)
    request_context.request.set(request)
    response = yield
    response.headers[HEADER] = request_id
    seconds = time.perf_counter() - started_at
    match = request.resolver_match
    # The route instead of the path, which would create a time series per job.
    route = (match.route if match else "") or "unknown"
    # Any token is a valid method (RFC 9110, 9.1), and each would create a time series.
    method = request.method if request.method in METHODS else "other"
    HTTP.labels(method, route, response.status_code).observe(seconds)
    fields = (request.method, request.path, response.status_code, 1000 * seconds)
    log.info("%s %s %s in %.1f ms", *fields)
