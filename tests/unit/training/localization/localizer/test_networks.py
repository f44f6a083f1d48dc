from __future__ import annotations

import pytest
import torch

from training.localization.config import TrainConfig
from training.localization.localizer.features import FEATURES
from training.localization.localizer.loss import gaussian_nll, loss
from training.localization.localizer.networks import Ensemble, pool_gaussians

KINDS = ["mlp", "attention"]


def model(kind: str = "mlp", members: int = 1) -> Ensemble:
    torch.manual_seed(0)
    config = TrainConfig.model_validate(
        {"model": kind, "hidden": 16, "heads": 2, "members": members}
    )
    return Ensemble(len(FEATURES), 5, config).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_a_hidden_receiver_changes_nothing(kind: str) -> None:
    net, tokens = model(kind), torch.randn(3, 5, len(FEATURES))
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[:, 4] = False
    before = net(tokens, mask)[0]
    tokens[:, 4] = 99
    assert torch.equal(net(tokens, mask)[0], before)


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_even_where_nobody_is_in_service(kind: str) -> None:
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[:, 0] = True
    mean, factor = model(kind)(torch.randn(2, 5, len(FEATURES)), mask)
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


def test_the_squared_loss_is_led_by_how_far_it_is_off() -> None:
    mean = torch.zeros(1, 2, requires_grad=True)
    loss(mean, torch.eye(2)[None], torch.tensor([[3.0, 4.0]]), "squared").sum().backward()
    torch.testing.assert_close(mean.grad, torch.tensor([[-3.0, -4.0]]))


def test_an_ensemble_is_the_moments_of_its_mixture() -> None:
    means = torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]])
    factors = torch.eye(2).expand(2, 1, 2, 2)
    mean, covariance = pool_gaussians(means, factors)
    assert mean.tolist() == [[1.0, 0.0]]
    assert covariance.tolist() == [[[2.0, 0.0], [0.0, 1.0]]]


def test_members_differ() -> None:
    means, _ = model(members=2)(torch.randn(3, 5, len(FEATURES)), torch.ones(3, 5).bool())
    assert not torch.equal(means[0], means[1])
