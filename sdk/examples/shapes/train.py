"""Classify drawn shapes: a network of 5,000 parameters and images made on the spot."""

import torch
from torch import nn

import heimdall_sdk

SIZE = 16


def draw(count: int, noise: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [count, 1, SIZE, SIZE] and their classes [count]."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    centre = torch.randint(5, SIZE - 5, (count, 2), generator=generator)
    radius = torch.randint(3, 5, (count,), generator=generator)[:, None, None]
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    y, x = rows - centre[:, 0, None, None], columns - centre[:, 1, None, None]
    inside = (x.abs() <= radius) & (y.abs() <= radius)
    shapes = torch.stack(
        [
            (x**2 + y**2 - radius**2).abs() <= radius,  # circle
            inside & ((x.abs() == radius) | (y.abs() == radius)),  # square
            inside & (x.abs() == y.abs()),  # cross
            inside & (x % 2 == 0),  # stripes
        ]
    )
    images = shapes[labels, torch.arange(count)].float()[:, None]
    return images + noise * torch.randn(images.shape, generator=generator), labels


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * (SIZE // 4) ** 2, 16), nn.ReLU(), nn.Linear(16, 4),
    )  # fmt: skip


def main() -> None:
    with heimdall_sdk.init(project="examples", config={"epochs": 20}) as run:
        config = run.config
        images, labels = draw(config["samples"], config["noise"], config["seed"])
        split = len(images) * 4 // 5
        run.seed_epoch(0)
        model = network()
        kind = torch.optim.Adam if config["optimizer"] == "adam" else torch.optim.SGD
        optimizer = kind(model.parameters(), lr=config["learning_rate"])
        start = run.restore(model=model, optimizer=optimizer)
        for epoch in run.epochs(start, config["epochs"]):
            run.seed_epoch(epoch)
            total = 0.0
            for batch in torch.randperm(split).split(config["batch_size"]):
                loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(batch)
            with torch.no_grad():
                scores = model(images[split:])
            val_loss = nn.functional.cross_entropy(scores, labels[split:]).item()
            accuracy = (scores.argmax(1) == labels[split:]).float().mean().item()
            print(f"epoch {epoch}: loss {val_loss:.3f}, accuracy {accuracy:.1%}")
            run.log(epoch=epoch, train_loss=total / split, val_loss=val_loss, val_accuracy=accuracy)
            run.checkpoint(epoch, model=model, optimizer=optimizer)


if __name__ == "__main__":
    main()
