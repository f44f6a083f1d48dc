"""Where a training runs: on which device, and as which of how many processes that share a batch.

The environment variables are torchrun's (RANK, WORLD_SIZE, LOCAL_RANK and the rest).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """One process of `world`; `device` holds its network and its samples."""

    device: torch.device = _CPU
    rank: int = 0
    world: int = 1

    @classmethod
    @contextmanager
    def from_environment(cls) -> Iterator[DistributedContext]:
        """As torchrun says, or alone; on a GPU where there is one."""
        world, local = (
            int(os.environ.get("WORLD_SIZE", "1")),
            int(os.environ.get("LOCAL_RANK", "0")),
        )
        cuda = torch.cuda.is_available()
        device = torch.device("cuda", local % torch.cuda.device_count()) if cuda else "cpu"
        if world > 1:
            dist.init_process_group("nccl" if cuda else "gloo")
        try:
            yield cls(torch.device(device), int(os.environ.get("RANK", "0")), world)
        finally:
            if world > 1:
                # An interpreter that ends with the group's threads alive is aborted now and
                # then, and torchrun takes the others down with it.
                dist.destroy_process_group()

    @property
    def is_rank_zero(self) -> bool:
        """One of them writes and speaks."""
        return self.rank == 0

    def shard(self, total: int) -> slice:
        """The part of a batch that is computed here."""
        return slice(self.rank * total // self.world, (self.rank + 1) * total // self.world)

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each by its sum over all processes, in one message."""
        if self.world == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def broadcast(self, value: bool) -> bool:
        """What the leading process wishes, everywhere."""
        if self.world == 1:
            return value
        shared = torch.tensor([float(value)], device=self.device)
        dist.broadcast(shared, src=0)
        return bool(shared.item())


SINGLE_PROCESS = DistributedContext()
