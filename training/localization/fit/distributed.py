"""The device of a training, and the processes that share its batches.

Reads the environment variables of torchrun (RANK, WORLD_SIZE, LOCAL_RANK and the rest).
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
    """One of `world_size` processes; `device` holds its network and samples."""

    device: torch.device = _CPU
    rank: int = 0
    world_size: int = 1

    @classmethod
    @contextmanager
    def from_environment(cls) -> Iterator[DistributedContext]:
        world_size = int(os.environ.get("WORLD_SIZE", "1"))
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        cuda = torch.cuda.is_available()
        device = torch.device("cuda", local_rank % torch.cuda.device_count()) if cuda else _CPU
        if world_size > 1:
            dist.init_process_group("nccl" if cuda else "gloo")
        try:
            yield cls(device, int(os.environ.get("RANK", "0")), world_size)
        finally:
            if world_size > 1:
                # An interpreter that exits while threads of the group run sometimes aborts, and
                # torchrun then kills the other processes.
                dist.destroy_process_group()

    @property
    def is_rank_zero(self) -> bool:
        return self.rank == 0

    def shard(self, total: int) -> slice:
        start = self.rank * total // self.world_size
        return slice(start, (self.rank + 1) * total // self.world_size)

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def broadcast(self, value: bool) -> bool:
        if self.world_size == 1:
            return value
        shared = torch.tensor([float(value)], device=self.device)
        dist.broadcast(shared, src=0)
        return bool(shared.item())


SINGLE_PROCESS = DistributedContext()
