"""A small training with Hugging Face's `Trainer`, which names no server.

    python hugging_face_training.py STEPS SECONDS_PER_STEP

The script runs with the interpreter of an installed `transformers` and imports nothing of Heimdall.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

import torch
from transformers import Trainer, TrainingArguments


class Line(torch.nn.Module):
    """A linear regression that takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.seconds = seconds

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.training:
            time.sleep(self.seconds)
        predicted = self.layer(x).squeeze(-1)
        return {"loss": ((predicted - labels) ** 2).mean(), "logits": predicted}


def main() -> None:
    steps, seconds = int(sys.argv[1]), float(sys.argv[2])
    torch.manual_seed(1)
    features = torch.randn(64, 4)
    rows = [{"x": row, "labels": row.sum()} for row in features]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, max_steps=steps, per_device_train_batch_size=8, learning_rate=0.05,
            logging_steps=4, eval_strategy="steps", eval_steps=20, save_strategy="no",
            use_cpu=True, disable_tqdm=True, report_to=os.environ.get("REPORT_TO", "none"),
        )  # fmt: skip
        trainer = Trainer(Line(seconds), arguments, train_dataset=rows, eval_dataset=rows)
        trainer.train()
    print("trained", trainer.state.global_step, "steps")  # noqa: T201


if __name__ == "__main__":
    main()
