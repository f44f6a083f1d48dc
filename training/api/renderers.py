"""Renderers: JSON with orjson, ten times as fast as DRF's, and the formats of positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer

from training.api.exports.positions import FORMATS
from training.validation import InvalidInputError


class OrjsonRenderer(JSONRenderer):
    """NaN becomes null."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if data is None:
            return b""
        try:
            return orjson.dumps(data, default=self._default, option=orjson.OPT_NON_STR_KEYS)
        except orjson.JSONEncodeError:  # integers of more than 64 bits, and deep nesting
            rendered: bytes = super().render(data, accepted_media_type, renderer_context)
            return rendered

    def _default(self, value: Any) -> Any:
        """Encode types that orjson does not support, such as lazy strings, like DRF does."""
        return self.encoder_class().default(value)


class PositionRenderer(OrjsonRenderer):
    """Stands for a format in the negotiation; the view streams the file."""


def _renderer(name: str) -> type[BaseRenderer]:
    attributes = {"format": name, "media_type": FORMATS[name].media_type}
    return type(f"{name.capitalize()}Renderer", (PositionRenderer,), attributes)


POSITION_RENDERERS: list[type[BaseRenderer]] = [OrjsonRenderer, *map(_renderer, FORMATS)]


class NamedFormatNegotiation(DefaultContentNegotiation):
    """An unknown `?format=` is an invalid value, not a missing page."""

    def filter_renderers(
        self,
        renderers: Iterable[BaseRenderer],
        format: str,  # noqa: A002
    ) -> list[BaseRenderer]:
        available = list(renderers)
        found = [renderer for renderer in available if renderer.format == format]
        if not found:
            known = ", ".join(str(renderer.format) for renderer in available)
            raise InvalidInputError({"format": [f"{format!r} is not one of {known}."]})
        return found
