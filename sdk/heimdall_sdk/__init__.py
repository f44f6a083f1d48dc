"""Report trainings to Heimdall, and let it start, stop and resume them."""

from heimdall_sdk.errors import CheckpointError
from heimdall_sdk.random_state import RandomState
from heimdall_sdk.run import Run, Stateful
from heimdall_sdk.start import init

__all__ = ["CheckpointError", "RandomState", "Run", "Stateful", "__version__", "init"]

__version__ = "0.2.0"
