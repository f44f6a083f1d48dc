"""Keeps the log of a running training bounded, without taking part in its writing (ADR 31)."""

from __future__ import annotations

import ctypes
import errno
import logging
import os

from training.jobs.logs import AttemptLog, Gap

HEAD_BYTES = 8 << 20
TAIL_BYTES = 24 << 20
# Holes consist of whole blocks of the file system.
FILE_SYSTEM_BLOCK = 4096
MIN_HOLE_BYTES = 1 << 20
BEYOND_END = 1 << 40
KEEP_SIZE, PUNCH_HOLE = 1, 2  # of linux/falloc.h

log = logging.getLogger(__name__)


class LogLimit:
    """Removes the middle of the log; call `enforce` several times a second."""

    def __init__(self, output: AttemptLog, head: int = HEAD_BYTES, tail: int = TAIL_BYTES) -> None:
        self._output, self._start, self._tail = output, head, tail
        self._end = head
        self._supported = True

    def enforce(self, size: int) -> None:
        """Remove what lies between the beginning and the end of an output of `size` bytes."""
        end = (size - self._tail) // FILE_SYSTEM_BLOCK * FILE_SYSTEM_BLOCK
        if end - self._end < MIN_HOLE_BYTES or not self._supported:
            return
        fd = os.open(self._output.path, os.O_RDWR)
        try:
            if self._end == self._start:
                # Before a gap is declared: does this file system have holes at all?
                punch_hole(fd, BEYOND_END, FILE_SYSTEM_BLOCK)
            self._output.declare_gap(Gap(self._start, end))
            punch_hole(fd, self._end, end - self._end)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.ENOSYS}:
                raise
            self._supported = False
            log.warning(
                "The file system of %s cannot remove the middle of a file (Linux with ext4, xfs, "
                "btrfs, tmpfs or NFS 4.2 can): this log is kept whole, however long it gets.",
                self._output.path,
            )
        finally:
            os.close(fd)
        self._end = end


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Free the blocks in this range; they read as zeros, and the file keeps its size."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        fallocate = libc.fallocate
    except AttributeError:  # not Linux
        raise OSError(errno.ENOSYS, "fallocate is not available") from None
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if fallocate(fd, KEEP_SIZE | PUNCH_HOLE, offset, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
