"""Releases what a request holds while it waits: its database connection and ASGI thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from asgiref.sync import SyncToAsync, sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest

Blocks = Iterator[bytes] | AsyncIterator[bytes]


def release_database() -> None:
    """Close the thread's connection; the next query opens another one.

    Call it before anything is waited for but the database itself.
    """
    if not connection.in_atomic_block:  # that of a test
        connection.close()


async def release_thread() -> None:
    """End the thread of an asynchronous response, which Django keeps until the response ends.

    It takes its connection to the database along. Another call of `sync_to_async` starts another.
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is not None and context not in SyncToAsync.context_to_thread_executor:
        return  # the response has no thread
    await sync_to_async(release_database)()
    if context is not None:
        executor = SyncToAsync.context_to_thread_executor.pop(context, None)
        if executor is not None:
            executor.shutdown(wait=False)


def stream_file(request: HttpRequest, blocks: Iterator[bytes]) -> Blocks:
    """The blocks of a file as the content of a response; under ASGI they are read in threads."""
    return _file_blocks(blocks) if isinstance(request, ASGIRequest) else blocks


def stream_pages(request: HttpRequest, pages: Iterator[bytes]) -> Blocks:
    """Pages that are read from the database as the client takes them.

    Under ASGI, Django would collect a synchronous iterator completely before the first byte.
    """
    return _pages_in_threads(pages) if isinstance(request, ASGIRequest) else pages


async def _file_blocks(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    await release_thread()
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        yield block


async def _pages_in_threads(pages: Iterator[bytes]) -> AsyncIterator[bytes]:
    next_page = sync_to_async(lambda: next(pages, None))
    while (page := await next_page()) is not None:
        await release_thread()
        yield page
