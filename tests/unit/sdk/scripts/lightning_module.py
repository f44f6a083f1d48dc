"""A Lightning module that reports to Heimdall."""

from __future__ import annotations

import os
import time
import warnings
from functools import partial
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from heimdall_sdk.lightning import HeimdallCheckpoint, HeimdallLogger

warnings.filterwarnings("ignore")
SECONDS = float(os.environ.get("EPOCH_SECONDS", "0"))


class Network(lightning.LightningModule):
    """Its arguments are those of a popular template, which creates them from a configuration."""

    def __init__(self, layers: nn.Module, optimizer: Any, lr: float = 0.05) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.layers = layers

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        loss = nn.functional.mse_loss(self.layers(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        time.sleep(SECONDS / 8)
        return loss

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("val_loss", nn.functional.mse_loss(self.layers(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = self.hparams.optimizer(self.parameters(), self.hparams.lr)
        if "PLATEAU" not in os.environ:
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2)]
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=0, threshold=0.9
        )
        return [optimizer], [{"scheduler": scheduler, "monitor": "val_loss"}]


lightning.seed_everything(1)
x = torch.randn(128, 4)
data = TensorDataset(x, x.sum(1, keepdim=True))
logger = HeimdallLogger(name="lightning", objective="val_loss")
checkpoint = HeimdallCheckpoint(logger)
early_stopping = lightning.callbacks.EarlyStopping(
    "val_loss", patience=100, stopping_threshold=float(os.environ.get("STOP_BELOW", "-1"))
)
trainer = lightning.Trainer(
    logger=logger, callbacks=[checkpoint, early_stopping], plugins=[checkpoint.io], max_epochs=4,
    log_every_n_steps=4, accelerator="cpu", devices=1, enable_progress_bar=False,
    enable_model_summary=False,
)  # fmt: skip
layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
model = Network(layers, partial(torch.optim.Adam, betas=(0.9, 0.99)))
workers = int(os.environ.get("LOADER_WORKERS", "0"))
trainer.fit(
    model,
    DataLoader(data, 16, shuffle=True, num_workers=workers),
    DataLoader(data, 64),
    ckpt_path=checkpoint.restore(trainer, model),
)
