from __future__ import annotations

import asyncio

import pytest
from django.http import HttpRequest, HttpResponse

from training.middleware import Around, middleware

calls: list[str] = []


@middleware
def polite(request: HttpRequest) -> Around:
    calls.append("before")
    response = yield
    response.headers["X-Said"] = ", ".join(calls)


def answer(request: HttpRequest) -> HttpResponse:
    calls.append("answered")
    return HttpResponse()


async def answer_later(request: HttpRequest) -> HttpResponse:
    return answer(request)


@pytest.mark.parametrize("synchronous", [True, False])
def test_generator_middleware_runs_before_the_view_and_receives_its_response(
    synchronous: bool,
) -> None:
    calls.clear()
    if synchronous:
        response = polite(answer)(HttpRequest())
    else:
        response = asyncio.run(polite(answer_later)(HttpRequest()))
    assert response.headers["X-Said"] == "before, answered"
