"""Random number generators: seeding by epoch, and their states in checkpoints."""

from __future__ import annotations

import hashlib
import random
import sys
from typing import Any


def seed_generators(seed: int, epoch: int) -> int:
    """Seed Python's generator, and those of numpy and torch (with CUDA) if they are imported."""
    digest = hashlib.sha256(f"{seed}:{epoch}".encode()).digest()
    value = int.from_bytes(digest[:8], "big") >> 1  # torch takes up to 64 bits with a sign
    random.seed(value)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(value % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(value)  # on all devices
    return value


def end_workers(loader: Any) -> None:
    """End the persistent workers of a DataLoader, or of one in `loader` of a wrapper like timm's.

    The next epoch starts new ones.
    """
    while not hasattr(loader, "_iterator") and hasattr(loader, "loader"):
        loader = loader.loader
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        loader._iterator = None  # noqa: SLF001  (torch has no other way)
        iterator._shutdown_workers()  # noqa: SLF001


class RandomState:
    """The generators of Python, numpy and torch (with CUDA), as an object with a state dict.

    `run.restore(..., rng=RandomState())` and `run.checkpoint(..., rng=RandomState())` continue
    their sequences; a script that calls `run.seed_epoch` in each epoch does not need this.
    """

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"python": random.getstate()}
        if "numpy" in sys.modules:
            state["numpy"] = sys.modules["numpy"].random.get_state()
        if "torch" in sys.modules:
            torch = sys.modules["torch"]
            state["torch"] = torch.get_rng_state()
            if torch.cuda.is_available() and torch.cuda.is_initialized():
                state["cuda"] = torch.cuda.get_rng_state_all()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        random.setstate(state["python"])
        if "numpy" in state:
            import numpy as np

            np.random.set_state(state["numpy"])  # noqa: NPY002
        if "torch" in state:
            import torch

            torch.set_rng_state(state["torch"])
            if "cuda" in state and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
