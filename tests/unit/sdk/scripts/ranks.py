"""Two ranks that add their numbers in each epoch."""

from __future__ import annotations

import time

import torch
from torch import distributed

import heimdall_sdk

distributed.init_process_group("gloo")
rank = distributed.get_rank()
model = torch.nn.Linear(2, 1)
with heimdall_sdk.init(config={"epochs": 1000}) as run:
    start = run.restore(model=model)
    for epoch in run.epochs(start):
        total = torch.tensor([float(rank + epoch)])
        distributed.all_reduce(total)
        time.sleep(0.02)
        run.log(epoch=epoch, total=total)
        run.checkpoint(epoch, model=model)
distributed.destroy_process_group()
