"""Figures of the GPUs that a training uses, where NVIDIA's library is installed and finds any."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection
from functools import cache
from typing import Any

log = logging.getLogger(__name__)


def gpu_figures(pids: Collection[int]) -> dict[str, float]:
    """Use, memory, temperature and power of each GPU that one of the processes computes on.

    In a container the library may know the processes by other numbers: if it names none of them,
    the figures are those of all GPUs that this process may use.
    """
    nvml = _library()
    if nvml is None:
        return {}
    visible = _visible_devices(nvml)
    own = {index: device for index, device in visible.items() if _runs_on(nvml, device, pids)}
    figures: dict[str, float] = {}
    for index, device in (own or visible).items():
        figures |= {f"gpu{index}_{name}": value for name, value in _figures(nvml, device).items()}
    return figures


@cache
def _library() -> Any:
    """NVML, initialized once in each process; it needs a driver, but no CUDA context."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:  # the package or the driver is missing
        log.debug("No GPU figures: %s", error)
        return None
    return pynvml


def _visible_devices(nvml: Any) -> dict[int, Any]:
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = None if allowed is None else {one.strip() for one in allowed.split(",")}
    devices = {}
    for index in range(nvml.nvmlDeviceGetCount()):
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        if names is None or names & {str(index), _uuid(nvml, device)}:
            devices[index] = device
    return devices


def _uuid(nvml: Any, device: Any) -> str:
    uuid = nvml.nvmlDeviceGetUUID(device)
    return uuid.decode() if isinstance(uuid, bytes) else str(uuid)


def _runs_on(nvml: Any, device: Any, pids: Collection[int]) -> bool:
    with contextlib.suppress(nvml.NVMLError):
        return any(one.pid in pids for one in nvml.nvmlDeviceGetComputeRunningProcesses(device))
    return False


def _figures(nvml: Any, device: Any) -> dict[str, float]:
    """The values of this GPU; some models lack a sensor."""
    readers = {
        "percent": lambda: nvml.nvmlDeviceGetUtilizationRates(device).gpu,
        "memory": lambda: nvml.nvmlDeviceGetMemoryInfo(device).used,
        "temperature": lambda: nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU),
        "power": lambda: nvml.nvmlDeviceGetPowerUsage(device) / 1000,
    }
    figures: dict[str, float] = {}
    for name, read in readers.items():
        with contextlib.suppress(nvml.NVMLError):
            figures[name] = float(read())
    return figures
