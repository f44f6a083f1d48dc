"""Merges appended batches into blocks.

The merged blocks are computed without a lock. One transaction then replaces the rows; it does
nothing if another compaction was faster, which it detects by the missing rows.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar
from uuid import UUID

import numpy as np
from django.db import DatabaseError, connection, transaction
from django.db.models import F, QuerySet

from training.models import Job, PointBatch, PointBlock, PointIndex
from training.points.encoding import (
    EMPTY,
    TIMES,
    Series,
    decode_batch,
    decode_block,
    encode_block,
    encode_outline,
    merge,
    resolve_repeats,
)

BLOCK = 8192  # values
# Compaction is due with as many waiting batches or values, because a reader merges what waits. With
# many series more may wait: a compaction rewrites the last block of each.
DUE_BATCHES, DUE_VALUES = 400, 100_000
DUE_VALUES_OF_SERIES, MAX_DUE_VALUES = 250, 500_000
# With more, the appending thread compacts before it continues.
MAX_WAITING_VALUES = 1_500_000
ROWS = 500  # at a time, read or written

Item = TypeVar("Item")

log = logging.getLogger(__name__)
_running: set[UUID] = set()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Stored:
    """A block that is stored already."""

    pk: int
    first_step: int
    last_step: int
    count: int


def is_due(index: PointIndex) -> bool:
    by_series = min(DUE_VALUES_OF_SERIES * len(index.names), MAX_DUE_VALUES)
    values = max(DUE_VALUES, by_series)
    return index.pending_batches >= DUE_BATCHES or index.pending_values >= values


def is_worthwhile(index: PointIndex) -> bool:
    """Whether to compact the points of an ended job; one small batch is read as fast as blocks."""
    return index.pending_batches > 1 or index.pending_values > BLOCK


def start(job_id: UUID, waiting_values: int) -> None:
    """Compact in a thread, unless one does so already or too much waits."""
    if waiting_values >= MAX_WAITING_VALUES:
        compact(job_id)
        return
    with _lock:
        if job_id in _running:
            return
        _running.add(job_id)
    threading.Thread(target=_run, args=[job_id], name="points-compaction", daemon=True).start()


def _run(job_id: UUID) -> None:
    try:
        compact(job_id)
    except DatabaseError as error:
        log.warning("Points of job %s were not compacted; the next append retries: %s",
                    job_id, error)  # fmt: skip
    except Exception:
        log.exception("Points of job %s were not compacted; the next append retries.", job_id)
    finally:
        with _lock:
            _running.discard(job_id)
        connection.close()


def compact(job_id: UUID) -> bool:
    """Merge all waiting batches into blocks; False if another compaction was faster."""
    rows = PointBatch.objects.filter(job_id=job_id).order_by("pk")
    batches = list(rows.values_list("pk", "data"))
    if not batches:
        return True
    parts: defaultdict[int, list[Series]] = defaultdict(list)
    for _, data in batches:
        for number, series in decode_batch(data):
            parts[number].append(series)
    values = sum(len(series) for found in parts.values() for series in found)
    added = {number: merge(found) for number, found in parts.items()}
    try:
        replaced, blocks = _merge_into_blocks(job_id, added)
        with transaction.atomic():
            # Appends and deletions of the job lock its row first as well.
            if Job.objects.select_for_update().filter(pk=job_id).values("pk").first() is None:
                return False
            _delete(PointBatch.objects.filter(job_id=job_id), [pk for pk, _ in batches])
            _delete(PointBlock.objects.filter(job_id=job_id), replaced)
            PointBlock.objects.bulk_create(blocks, batch_size=ROWS)
            PointIndex.objects.filter(pk=job_id).update(
                pending_batches=F("pending_batches") - len(batches),
                pending_values=F("pending_values") - values,
            )
    except _OutdatedError:
        return False
    return True


class _OutdatedError(Exception):
    """Another compaction has replaced the rows."""


def _delete(rows: QuerySet[PointBatch] | QuerySet[PointBlock], pks: Sequence[int]) -> None:
    for some in _batched(pks):
        if rows.filter(pk__in=some).delete()[0] != len(some):
            raise _OutdatedError


def _merge_into_blocks(
    job_id: UUID, added: Mapping[int, Series]
) -> tuple[list[int], list[PointBlock]]:
    """The blocks to delete, and those to store instead."""
    stored = _stored_blocks(job_id, added)
    assigned = {number: _assign(stored[number], series) for number, series in added.items()}
    replaced = [block.pk for parts in assigned.values() for block, _ in parts if block]
    old = _read_blocks(replaced)
    times = merge([_merge(TIMES, old, block, series, EMPTY) for block, series in assigned[TIMES]])
    blocks = [
        _block(job_id, number, piece)
        for number, parts in assigned.items()
        for block, series in parts
        for piece in _split(
            _merge(number, old, block, series, times),
            is_last=block is None or block is stored[number][-1],
        )
    ]
    return replaced, blocks


def _merge(
    number: int, old: Mapping[int, Series], block: _Stored | None, added: Series, times: Series
) -> Series:
    """`times` has the time of each step, which does not change any more."""
    own = added.without_times_of(times)
    return resolve_repeats(number, merge([old[block.pk], own]) if block else own)


def _stored_blocks(job_id: UUID, numbers: Iterable[int]) -> defaultdict[int, list[_Stored]]:
    found: defaultdict[int, list[_Stored]] = defaultdict(list)
    for some in _batched(list(numbers)):
        rows = PointBlock.objects.filter(job_id=job_id, series__in=some)
        ordered = rows.order_by("series", "first_step")
        for number, *fields in ordered.values_list(
            "series", "pk", "first_step", "last_step", "count"
        ):
            found[number].append(_Stored(*fields))
    return found


def _assign(blocks: Sequence[_Stored], series: Series) -> list[tuple[_Stored | None, Series]]:
    """Split the new points by the block that they belong to; None: only to new ones."""
    if not blocks:
        return [(None, series)]
    firsts = np.array([block.first_step for block in blocks])
    owners = np.maximum(np.searchsorted(firsts, series.steps, side="right") - 1, 0)
    edges = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(series)]
    parts: list[tuple[_Stored | None, Series]] = []
    for start, end in pairwise(edges):
        block, part = blocks[int(owners[start])], series.between(start, end)
        is_new = block.count >= BLOCK and bool(part.steps[0] > block.last_step)
        parts.append((None if is_new else block, part))
    return parts


def _read_blocks(pks: Sequence[int]) -> dict[int, Series]:
    found = {}
    for some in _batched(pks):
        rows = PointBlock.objects.filter(pk__in=some).values_list("pk", "data")
        found.update({pk: decode_block(data) for pk, data in rows})
    if len(found) < len(pks):
        raise _OutdatedError
    return found


def _split(series: Series, *, is_last: bool) -> list[Series]:
    """Full blocks where points are appended; equal ones elsewhere, with room for late points.

    The values of one step stay together, even if they are more than fit into a block.
    """
    count = -(-len(series) // BLOCK)
    length = BLOCK if is_last else -(-len(series) // count)
    pieces = []
    while len(series) > length:
        step = series.steps[length]
        cut = int(np.searchsorted(series.steps, step)) or int(
            np.searchsorted(series.steps, step, side="right")
        )
        pieces.append(series.between(0, cut))
        series = series.between(cut, len(series))
    return [*pieces, series] if len(series) else pieces


def _batched(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[at : at + ROWS] for at in range(0, len(items), ROWS)]


def _block(job_id: UUID, number: int, series: Series) -> PointBlock:
    return PointBlock(
        job_id=job_id,
        series=number,
        first_step=int(series.steps[0]),
        last_step=int(series.steps[-1]),
        count=len(series),
        outline=encode_outline(series),
        data=encode_block(series),
    )
