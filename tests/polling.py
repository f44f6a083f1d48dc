"""Wait for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def eventually(
    condition: Callable[[], Any], seconds: float = 60, message: str = "", interval: float = 0.05
) -> Any:
    """Poll `condition` until it returns something truthy, and return that."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(message or f"the condition was not met within {seconds} s")
        time.sleep(interval)
    return result
