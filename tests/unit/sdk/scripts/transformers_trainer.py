"""A Trainer of transformers that reports to Heimdall."""

from __future__ import annotations

import os
import time
import warnings

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from heimdall_sdk.transformers import HeimdallCallback

warnings.filterwarnings("ignore")
SECONDS = float(os.environ.get("EPOCH_SECONDS", "0"))


class Sums(Dataset[dict[str, torch.Tensor]]):
    def __init__(self, size: int) -> None:
        self.x = torch.randn(size, 4, generator=torch.Generator().manual_seed(size))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[index], "labels": self.x[index].sum(0, keepdim=True)}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        time.sleep(SECONDS / 8 * self.training)
        found = self.layers(x)
        return {"loss": nn.functional.mse_loss(found, labels), "logits": found}


torch.manual_seed(1)
callback = HeimdallCallback(name="transformers", objective="eval_loss")
arguments = TrainingArguments(
    "output", num_train_epochs=4, per_device_train_batch_size=16, logging_steps=4,
    eval_strategy="epoch", save_strategy="epoch", learning_rate=0.05, report_to=[], use_cpu=True,
    disable_tqdm=True, dataloader_num_workers=int(os.environ.get("LOADER_WORKERS", "0")),
)  # fmt: skip
trainer = Trainer(
    Network(), arguments, train_dataset=Sums(128), eval_dataset=Sums(64), callbacks=[callback]
)
trainer.train(resume_from_checkpoint=callback.checkpoint(trainer))
