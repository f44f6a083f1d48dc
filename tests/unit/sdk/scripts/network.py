"""A network with dropout, shuffled batches, a scheduler and DataLoader workers."""

from __future__ import annotations

import sys

import torch
from torch.utils.data import DataLoader, TensorDataset

import heimdall_sdk

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
inputs = torch.randn(64, 8, generator=generator)
targets = inputs.sum(dim=1, keepdim=True)


def main(workers: int) -> None:
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.2),
        torch.nn.Linear(16, 1),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=80)
    with heimdall_sdk.init(config={"epochs": 20}, objective=("loss", "minimize")) as run:
        start = run.restore(model=model, optimizer=optimizer, scheduler=scheduler)
        data = TensorDataset(inputs, targets)
        for epoch in run.epochs(start):
            run.seed_epoch(epoch)
            total = 0.0
            for x, y in DataLoader(data, 16, shuffle=True, num_workers=workers):
                optimizer.zero_grad()
                loss = (model(x) - y).square().mean()
                loss.backward()
                optimizer.step()
                scheduler.step()
                total += loss.item()
            run.log(epoch=epoch, loss=total, learning_rate=scheduler.get_last_lr()[0])
            run.checkpoint(epoch, model=model, optimizer=optimizer, scheduler=scheduler)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 0)
