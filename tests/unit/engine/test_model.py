from __future__ import annotations

import torch

from training.engine.config import TrainConfig
from training.engine.features import FEATURES
from training.engine.loss import gaussian_nll, loss
from training.engine.model import Locator

CONFIG = TrainConfig(hidden=16, heads=2)


def model(receivers: int = 5) -> Locator:
    torch.manual_seed(0)
    return Locator(len(FEATURES), receivers, CONFIG).eval()


def test_a_hidden_receiver_changes_nothing() -> None:
    net, tokens = model(), torch.randn(3, 5, len(FEATURES))
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[:, 4] = False
    before = net(tokens, mask)[0]
    tokens[:, 4] = 99
    assert torch.equal(net(tokens, mask)[0], before)


def test_it_answers_even_where_nobody_is_in_service() -> None:
    mean, factor = model()(torch.randn(2, 5, len(FEATURES)), torch.zeros(2, 5, dtype=torch.bool))
    assert torch.isfinite(mean).all()
    assert torch.isfinite(factor).all()


def test_the_covariance_is_positive_definite() -> None:
    _, factor = model()(torch.randn(64, 5, len(FEATURES)) * 50, torch.ones(64, 5).bool())
    assert torch.linalg.eigvalsh(factor @ factor.mT).min() > 0


def test_the_likelihood_agrees_with_torchs_own() -> None:
    mean, factor = model()(torch.randn(8, 5, len(FEATURES)), torch.ones(8, 5).bool())
    target = torch.randn(8, 2)
    theirs = -torch.distributions.MultivariateNormal(mean, scale_tril=factor).log_prob(target)
    torch.testing.assert_close(gaussian_nll(mean, factor, target), theirs)


def test_the_likelihood_does_not_move_the_mean() -> None:
    mean = torch.zeros(1, 2, requires_grad=True)
    factor = torch.eye(2)[None] * 1e-2
    loss(mean, factor, torch.tensor([[3.0, 4.0]])).sum().backward()
    torch.testing.assert_close(mean.grad, torch.tensor([[-0.6, -0.8]]))
