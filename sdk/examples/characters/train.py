"""A recurrent language model of a few thousand parameters that learns to add."""

import torch
from torch import nn

import heimdall_sdk

ALPHABET = "0123456789+=."
LENGTH = 10  # "99+99=198" and its end


def sums() -> torch.Tensor:
    """Every sum of two numbers below 100 as indices [10,000, LENGTH], padded with dots."""
    texts = [f"{a}+{b}={a + b}".ljust(LENGTH, ".") for a in range(100) for b in range(100)]
    return torch.tensor([[ALPHABET.index(letter) for letter in text] for text in texts])


class Model(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(ALPHABET), 16)
        self.recurrent = nn.GRU(16, hidden, batch_first=True)
        self.out = nn.Linear(hidden, len(ALPHABET))

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        return self.out(self.recurrent(self.embed(letters))[0])

    def loss(self, letters: torch.Tensor) -> torch.Tensor:
        scores = self(letters[:, :-1])
        return nn.functional.cross_entropy(scores.flatten(0, 1), letters[:, 1:].flatten())


def exact(model: Model, letters: torch.Tensor) -> float:
    """The share of sums whose whole answer is predicted, given what stands before it."""
    predicted = model(letters[:, :-1]).argmax(-1)
    answer = (letters == ALPHABET.index("=")).cumsum(1)[:, :-1].bool()
    return ((predicted == letters[:, 1:]) | ~answer).all(1).float().mean().item()


def main() -> None:
    with heimdall_sdk.init(project="examples") as run:
        config = run.config
        run.seed_epoch(0)
        data = sums()[torch.randperm(10_000)]
        train, val = data[:8000], data[8000:]
        model = Model(config["hidden"])
        optimizer = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config["epochs"])
        kept = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
        for epoch in run.epochs(run.restore(**kept), config["epochs"]):
            run.seed_epoch(epoch)
            batches = train[torch.randperm(len(train))].split(config["batch_size"])
            total = 0.0
            for batch in batches:
                loss = model.loss(batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
            scheduler.step()
            with torch.no_grad():
                val_loss, share = model.loss(val).item(), exact(model, val)
            print(f"epoch {epoch}: loss {val_loss:.3f}, exact {share:.1%}")
            run.log(
                epoch=epoch, step=epoch * len(batches), train_loss=total / len(batches),
                val_loss=val_loss, val_exact=share,
            )  # fmt: skip
            run.checkpoint(epoch, **kept)


if __name__ == "__main__":
    main()
