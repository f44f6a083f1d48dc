from __future__ import annotations

import pytest

from training.workers.trainer_process import last_error

TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n'


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (f"{TRACEBACK}ValueError: no data\n", "ValueError: no data"),
        (f"{TRACEBACK}KeyboardInterrupt\n", "KeyboardInterrupt"),
        (f"{TRACEBACK}torch.OutOfMemoryError: no memory\n", "torch.OutOfMemoryError: no memory"),
        (
            (f"{TRACEBACK}ImportError: tokenizers>=0.22.0 is required.\n"
            "Try: `pip install transformers -U`\n"),
            "ImportError: tokenizers>=0.22.0 is required.",
        ),
        (
            (f"{TRACEBACK}ValueError: Sum of input lengths\n\n"
            "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n"),
            "ValueError: Sum of input lengths",
        ),
        ("epoch 1\nsegmentation fault\n", "segmentation fault"),
        ("usage: train.py\ntrain.py: error: unrecognized arguments: --x\n",
         "train.py: error: unrecognized arguments: --x"),
        (f"{TRACEBACK}ValueError: retried\n" + "epoch\n" * 20 + "killed\n", "killed"),
        ("", ""),
    ],
)  # fmt: skip
def test_crash_is_described_by_the_error_not_by_a_hint_after_it(output: str, line: str) -> None:
    assert last_error(output) == line
