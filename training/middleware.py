"""A middleware as one generator, for synchronous and asynchronous requests alike."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

Around = Generator[None, HttpResponseBase, None]
GetResponse = Callable[[HttpRequest], Any]


def middleware(around: Callable[[HttpRequest], Around]) -> Callable[[GetResponse], GetResponse]:
    """`around` does what comes before the answer, yields once, and is sent the answer."""

    @sync_and_async_middleware
    def factory(get_response: GetResponse) -> GetResponse:
        if iscoroutinefunction(get_response):

            async def later(request: HttpRequest) -> HttpResponseBase:
                before = _on_start(around, request)
                return _on_end(before, await get_response(request))

            return later

        def now(request: HttpRequest) -> HttpResponseBase:
            before = _on_start(around, request)
            return _on_end(before, get_response(request))

        return now

    return factory


def _on_start(around: Callable[[HttpRequest], Around], request: HttpRequest) -> Around:
    going = around(request)
    next(going)
    return going


def _on_end(going: Around, response: HttpResponseBase) -> HttpResponseBase:
    with suppress(StopIteration):
        going.send(response)
    return response
