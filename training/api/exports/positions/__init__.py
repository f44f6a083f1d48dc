"""Estimated positions in the formats of maps, navigation devices and spreadsheets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from django.http import HttpRequest, StreamingHttpResponse

from training.api.exports.positions import csv_table, geojson, gpx, kml
from training.programs.positions import Position
from training.request_thread import stream_file

FILE_NAME = "positions"
_AT_ONCE = 500  # positions in a block of the response


@dataclass(frozen=True, slots=True)
class PositionFormat:
    """`write` yields the file in parts; `suffix` is that of the file's name."""

    title: str
    media_type: str
    suffix: str
    write: Callable[[Iterable[Position]], Iterator[bytes]]


FORMATS = {
    "csv": PositionFormat("CSV", "text/csv", "csv", csv_table.write),
    "geojson": PositionFormat("GeoJSON", "application/geo+json", "geojson", geojson.write),
    "gpx": PositionFormat("GPX", "application/gpx+xml", "gpx", gpx.write),
    "kml": PositionFormat("KML", "application/vnd.google-earth.kml+xml", "kml", kml.write),
}


def positions_response(
    request: HttpRequest, name: str, positions: Iterable[Position]
) -> StreamingHttpResponse:
    """A file in the format `name`, encoded while it is sent: one of many ellipses is large."""
    found = FORMATS[name]
    response = StreamingHttpResponse(
        stream_file(request, _blocks(found.write(positions))),
        content_type=f"{found.media_type}; charset=utf-8" if name == "csv" else found.media_type,
    )
    # GZipMiddleware compresses each block separately, and many clients decode only the first.
    response["Content-Encoding"] = "identity"
    response["Content-Disposition"] = f'attachment; filename="{FILE_NAME}.{found.suffix}"'
    return response


def _blocks(parts: Iterator[bytes]) -> Iterator[bytes]:
    while block := b"".join(islice(parts, _AT_ONCE)):
        yield block
