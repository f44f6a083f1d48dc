from __future__ import annotations

import pytest
import torch

from training.localization.config import TrainConfig
from training.localization.localizer.features import FEATURES
from training.localization.localizer.loss import gaussian_nll, loss
from training.localization.localizer.networks import (
    ARCHITECTURES,
    BatchShard,
    Dropout,
    Ensemble,
    gaussian_head,
    pool_gaussians,
)

KINDS = ["mlp", "attention"]


def model(kind: str = "mlp", members: int = 1) -> Ensemble:
    torch.manual_seed(0)
    config = TrainConfig.model_validate(
        {"model": kind, "hidden": 16, "heads": 2, "members": members}
    )
    return Ensemble(len(FEATURES), 5, config, ARCHITECTURES[config.model]).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_masked_receiver_does_not_change_the_output(kind: str) -> None:
    net, tokens = model(kind), torch.randn(3, 5, len(FEATURES))
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[:, 4] = False
    before = net(tokens, mask)[0]
    tokens[:, 4] = 99
    assert torch.equal(net(tokens, mask)[0], before)


@pytest.mark.parametrize("kind", KINDS)
def test_output_is_finite_without_a_receiver_in_service(kind: str) -> None:
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[:, 0] = True
    mean, factor = model(kind)(torch.randn(2, 5, len(FEATURES)), mask)
    assert torch.isfinite(mean).all()
    assert torch.isfinite(factor).all()


def test_covariance_is_positive_definite() -> None:
    _, factor = model()(torch.randn(64, 5, len(FEATURES)) * 50, torch.ones(64, 5).bool())
    assert torch.linalg.eigvalsh(factor @ factor.mT).min() > 0


def test_likelihood_agrees_with_torch_distributions() -> None:
    mean, factor = model()(torch.randn(8, 5, len(FEATURES)), torch.ones(8, 5).bool())
    target = torch.randn(8, 2)
    expected = -torch.distributions.MultivariateNormal(mean, scale_tril=factor).log_prob(target)
    torch.testing.assert_close(gaussian_nll(mean, factor, target), expected)


def test_likelihood_has_no_gradient_for_the_mean() -> None:
    mean = torch.zeros(1, 2, requires_grad=True)
    factor = torch.eye(2)[None] * 1e-2
    loss(mean, factor, torch.tensor([[3.0, 4.0]])).sum().backward()
    torch.testing.assert_close(mean.grad, torch.tensor([[-0.6, -0.8]]))


def test_gradient_of_the_squared_loss_is_the_error() -> None:
    mean = torch.zeros(1, 2, requires_grad=True)
    loss(mean, torch.eye(2)[None], torch.tensor([[3.0, 4.0]]), "squared").sum().backward()
    torch.testing.assert_close(mean.grad, torch.tensor([[-3.0, -4.0]]))


def test_likelihood_trains_the_layers_of_the_covariance_only() -> None:
    net = model("mlp")
    mean, factor = net(torch.randn(8, 5, len(FEATURES)), torch.ones(8, 5).bool())
    gaussian_nll(mean.detach(), factor, torch.randn(8, 2)).sum().backward()
    trained = {
        name
        for name, weight in net.named_parameters()
        if weight.grad is not None and weight.grad.any()
    }
    assert len(trained) == 4 and all(".covariance." in name for name in trained)


def test_layers_of_the_covariance_are_clipped_apart() -> None:
    net = model("mlp", members=2)
    groups = net.clip_groups()
    assert len(groups) == 4
    assert sum(map(len, groups)) == len(list(net.parameters()))
    covariance = net.members[1].get_parameter("head.2.covariance.0.weight")
    assert [any(weight is covariance for weight in group) for group in groups] == [
        False, False, False, True,
    ]  # fmt: skip
    assert len(model("attention", members=2).clip_groups()) == 2


def test_pooled_gaussian_has_the_moments_of_the_mixture() -> None:
    means = torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]])
    factors = torch.eye(2).expand(2, 1, 2, 2)
    mean, covariance = pool_gaussians(means, factors)
    assert mean.tolist() == [[1.0, 0.0]]
    assert covariance.tolist() == [[[2.0, 0.0], [0.0, 1.0]]]


def test_members_have_different_weights() -> None:
    means, _ = model(members=2)(torch.randn(3, 5, len(FEATURES)), torch.ones(3, 5).bool())
    assert not torch.equal(means[0], means[1])


def test_dropout_of_a_shard_equals_the_rows_of_the_whole_batch() -> None:
    shard, x = BatchShard(), torch.ones(10, 64)
    dropout = Dropout(0.5, shard)
    torch.manual_seed(1)
    whole = dropout(x)
    assert 0.3 < float((whole == 0).float().mean()) < 0.7
    assert float(whole.max()) == 2.0
    shard.set(10, slice(6, 10))
    torch.manual_seed(1)
    assert torch.equal(dropout(x[6:]), whole[6:])


def test_dropout_does_nothing_in_evaluation() -> None:
    x = torch.randn(4, 8)
    assert torch.equal(Dropout(0.5, BatchShard()).eval()(x), x)


def test_attention_does_not_depend_on_the_order_of_other_receivers() -> None:
    """With equal embeddings receivers are a set."""
    net, tokens = model("attention"), torch.randn(3, 5, len(FEATURES))
    with torch.no_grad():
        net.members[0].get_parameter("receiver").zero_()
    mask = torch.ones(3, 5, dtype=torch.bool)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(net(tokens[:, order], mask)[0], net(tokens, mask)[0])


def test_standard_deviation_is_bounded() -> None:
    raw = torch.tensor([[0.0, 0.0, 99.0, -99.0, 0.0]])
    _, factor = gaussian_head(raw)
    assert factor[0].diagonal().log().tolist() == pytest.approx([3.0, -7.0])


def test_loss_has_a_finite_gradient_at_the_target() -> None:
    mean = torch.zeros(1, 2, requires_grad=True)
    loss(mean, torch.eye(2)[None], torch.zeros(1, 2)).sum().backward()
    assert mean.grad is not None and torch.isfinite(mean.grad).all()
