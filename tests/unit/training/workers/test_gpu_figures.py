"""GPU metrics, with a fake of NVIDIA's library."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from training.workers import gpu_figures as module
from training.workers.gpu_figures import gpu_figures


class FakeNvml(SimpleNamespace):
    """Two GPUs; process 7 computes on the second. The first has no power sensor."""

    class NVMLError(Exception): ...

    NVML_TEMPERATURE_GPU = 0

    def nvmlInit(self) -> None: ...  # noqa: N802

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, device: int) -> str:  # noqa: N802
        return f"GPU-{device}"

    def nvmlDeviceGetComputeRunningProcesses(self, device: int) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=7)] if device == 1 else []

    def nvmlDeviceGetUtilizationRates(self, device: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpu=40 + device)

    def nvmlDeviceGetMemoryInfo(self, device: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(used=1 << 30)

    def nvmlDeviceGetTemperature(self, device: int, sensor: int) -> int:  # noqa: N802
        return 60

    def nvmlDeviceGetPowerUsage(self, device: int) -> int:  # noqa: N802
        if device == 0:
            raise self.NVMLError("not supported")
        return 250_500


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    module._library.cache_clear()
    yield
    module._library.cache_clear()


def test_gpu_metrics_are_those_of_the_gpus_that_the_training_uses(nvml: None) -> None:
    assert gpu_figures([7]) == {
        "gpu1_percent": 41,
        "gpu1_memory": 1 << 30,
        "gpu1_temperature": 60,
        "gpu1_power": 250.5,
    }


def test_all_visible_gpus_count_if_no_process_is_listed(
    nvml: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {name[:4] for name in gpu_figures([8])} == {"gpu0", "gpu1"}
    assert "gpu0_power" not in gpu_figures([8])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-0")
    assert {name[:4] for name in gpu_figures([8])} == {"gpu0"}


def test_gpu_metrics_are_absent_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    module._library.cache_clear()
    assert gpu_figures([7]) == {}
    module._library.cache_clear()
