"""The OpenAPI schema, generated at most once a minute: anyone may ask for it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request

from training.api import etags

# The schema lists the parameters of installed programs, which the operator may change.
CACHE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Rendered:
    content: bytes
    content_type: str
    disposition: str
    etag: str
    expires_at: float


_cached: dict[str, _Rendered] = {}  # by media type, of which there are four
_lock = threading.Lock()


class SchemaView(SpectacularAPIView):
    @extend_schema(exclude=True)
    def get(self, request: Request, *args: object, **kwargs: object) -> HttpResponseBase:
        with _lock:
            found = _cached.get(request.accepted_media_type)
            if found is None or found.expires_at < time.monotonic():
                found = _cached[request.accepted_media_type] = self._render(request)
        if found.etag in request.headers.get("If-None-Match", ""):
            response = HttpResponse(status=304)
        else:
            response = HttpResponse(found.content, content_type=found.content_type)
            response["Content-Disposition"] = found.disposition
        response["ETag"], response["Cache-Control"] = found.etag, "no-cache"
        response["Vary"] = "Accept"
        return response

    def _render(self, request: Request) -> _Rendered:
        made = super().get(request)
        context = self.get_renderer_context()
        renderer, media_type = request.accepted_renderer, request.accepted_media_type
        content = renderer.render(made.data, media_type, {**context, "response": made})
        content = content if isinstance(content, bytes) else content.encode()
        return _Rendered(
            content,
            f"{renderer.media_type}; charset=utf-8" if renderer.charset else renderer.media_type,
            made["Content-Disposition"],
            etags.make_etag("schema", content.decode()),
            time.monotonic() + CACHE_SECONDS,
        )

    def _get_version_parameter(self, request: Request) -> str | None:
        return None  # what is cached is the same for everyone
