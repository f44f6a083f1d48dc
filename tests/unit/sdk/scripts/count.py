"""A training without torch: its weight is a sum of random numbers, drawn by epoch."""

from __future__ import annotations

import random
import sys
import time

import heimdall_sdk


class Model:
    weight = 0.0

    def state_dict(self) -> dict[str, float]:
        return {"weight": self.weight}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.weight = state["weight"]

    def parameters(self) -> list[float]:
        return [self.weight]


class Optimizer:
    history: list[float]

    def __init__(self) -> None:
        self.history = []

    def state_dict(self) -> dict[str, list[float]]:
        return {"history": self.history}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        self.history = state["history"]


model, optimizer = Model(), Optimizer()
with heimdall_sdk.init(
    name="count",
    config={"epochs": 5, "lr": 1.0, "seconds": 0.0, "every": 1, "seed": 3},
    objective="loss",
    checkpoint_dir=sys.argv[1] if sys.argv[1:] else None,
) as run:
    start = run.restore(model=model, optimizer=optimizer)
    for epoch in run.epochs(start):
        run.seed_epoch(epoch)
        for _batch in range(10):
            model.weight += run.config["lr"] * random.random()
            optimizer.history.append(model.weight)
            run.log(batch_loss=model.weight)
            time.sleep(run.config["seconds"] / 10)
        run.log(epoch=epoch, loss=abs(epoch - 3), weight=model.weight)
        if epoch % run.config["every"] == 0:
            run.checkpoint(epoch, model=model, optimizer=optimizer)
    sys.stdout.write(f"end {run.should_stop}\n")
