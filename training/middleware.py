"""Middleware written as one generator, for synchronous and asynchronous requests."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

Around = Generator[None, HttpResponseBase, None]
# May return a response before it yields: that is the response then.
AroundOrInstead = Generator[None, HttpResponseBase, HttpResponseBase | None]
MiddlewareFunction = Callable[[HttpRequest], Around] | Callable[[HttpRequest], AroundOrInstead]
GetResponse = Callable[[HttpRequest], Any]


def middleware(around: MiddlewareFunction) -> Callable[[GetResponse], GetResponse]:
    """Make a middleware of `around`, which yields once and receives the response there."""

    @sync_and_async_middleware
    def factory(get_response: GetResponse) -> GetResponse:
        if iscoroutinefunction(get_response):

            async def call_async(request: HttpRequest) -> HttpResponseBase:
                before = _on_start(around, request)
                if isinstance(before, HttpResponseBase):
                    return before
                return _on_end(before, await get_response(request))

            return call_async

        def call(request: HttpRequest) -> HttpResponseBase:
            before = _on_start(around, request)
            if isinstance(before, HttpResponseBase):
                return before
            return _on_end(before, get_response(request))

        return call

    return factory


def _on_start(
    around: MiddlewareFunction, request: HttpRequest
) -> Around | AroundOrInstead | HttpResponseBase:
    generator = around(request)
    try:
        next(generator)
    except StopIteration as ended:
        return cast(HttpResponseBase, ended.value)
    return generator


def _on_end(generator: Around | AroundOrInstead, response: HttpResponseBase) -> HttpResponseBase:
    with suppress(StopIteration):
        generator.send(response)
    return response
