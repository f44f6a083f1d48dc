"""The rank of this process among the processes that train together."""

from __future__ import annotations

import os
import sys
from typing import Any


def _distributed() -> Any:
    """`torch.distributed` if this process has joined a group, else None."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed


def is_rank_zero() -> bool:
    distributed = _distributed()
    if distributed is not None:
        return bool(distributed.get_rank() == 0)
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    # Lightning starts its other ranks with these two.
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def agree(flag: bool) -> bool:
    """The flag of rank 0, on all ranks: otherwise some would wait for others that have stopped."""
    distributed = _distributed()
    if distributed is None or distributed.get_world_size() == 1:
        return flag
    import torch

    device = "cpu" if "gloo" in str(distributed.get_backend()) else "cuda"
    value = torch.tensor([int(flag)], device=device)
    distributed.broadcast(value, src=0)
    return bool(value.item())
