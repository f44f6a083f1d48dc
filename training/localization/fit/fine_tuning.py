"""Training that starts from the weights of a saved model, also for other receivers or places."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.state import TrainState
from training.localization.geometry import LocalFrame
from training.localization.localizer.features import fit_token_center
from training.localization.localizer.networks import Ensemble
from training.localization.localizer.normalizer import Normalizer, Scale
from training.programs.messages import FinalError

# Both networks have a row for the aggregate token and for each receiver in this parameter.
_PER_RECEIVER = ".receiver"


@dataclass(frozen=True, slots=True)
class Origin:
    """The network of a saved model, and what its inputs and outputs mean."""

    ensemble: Ensemble
    normalizer: Normalizer
    receivers: tuple[str, ...]
    frame: LocalFrame


def initial_state(origin: Origin, config: TrainConfig, dataset: Dataset) -> TrainState:
    """The state before epoch 1. Receivers are matched by their IDs.

    Signals and positions are scaled as for the origin, or its weights would mean something else. A
    receiver that the origin does not have starts with zero weights and a scale of its own.
    """
    receivers = tuple(receiver.id for receiver in dataset.receivers)
    row_of = {name: row for row, name in enumerate(origin.receivers)}
    rows = [row_of.get(name) for name in receivers]
    normalizer = _adapt_normalizer(origin, dataset, rows)
    state = TrainState.build(
        config, normalizer, receivers, dataset.content_hash, origin.ensemble.architecture
    )
    # The aggregate token is first.
    tokens = [0, *(None if row is None else 1 + row for row in rows)]
    _copy_weights(origin.ensemble, state.model, tokens)
    if state.averaged is not None:
        state.averaged = copy.deepcopy(state.model)
    return state


def _adapt_normalizer(origin: Origin, dataset: Dataset, rows: Sequence[int | None]) -> Normalizer:
    """The origin's normalizer in the frame and with the receivers of the dataset."""
    train = dataset.rows("train")
    fitted, known = Normalizer.fit(dataset, train), origin.normalizer
    lat, lon = origin.frame.to_geodetic(known.center)
    east, north = dataset.frame.to_local(lat, lon)
    adapted = replace(
        fitted,
        center=(float(east), float(north)),
        meters_per_unit=known.meters_per_unit,
        rssi=_adapt_scale(known.rssi, fitted.rssi, rows),
        snr=_adapt_scale(known.snr, fitted.snr, rows),
        toa_ns=known.toa_ns if known.clock_offsets.sigma_m is not None else fitted.toa_ns,
    )
    if known.token_center is None:
        return adapted
    aggregate, *own = fit_token_center(adapted, dataset, train)
    centers = known.token_center
    return replace(
        adapted,
        token_center=(
            centers[0] if any(row is not None for row in rows) else aggregate,
            *(new if row is None else centers[1 + row] for new, row in zip(own, rows, strict=True)),
        ),
    )


def _adapt_scale(known: Scale, fitted: Scale, rows: Sequence[int | None]) -> Scale:
    if not any(known.level):  # the origin has no such signal
        return fitted
    return Scale(
        level=_matched(known.level, fitted.level, rows),
        weakest=_matched(known.weakest, fitted.weakest, rows),
        spread=known.spread,
    )


def _matched(
    known: Sequence[float], fitted: Sequence[float], rows: Sequence[int | None]
) -> tuple[float, ...]:
    return tuple(new if row is None else known[row] for new, row in zip(fitted, rows, strict=True))


@torch.no_grad()
def _copy_weights(origin: Ensemble, model: Ensemble, tokens: Sequence[int | None]) -> None:
    """Raises FinalError if the networks differ in more than their receivers."""
    known, own = origin.state_dict(), model.state_dict()
    if _shapes(known) != _shapes(own):
        raise FinalError(
            "The network differs from that of the model it starts from: use the same model, "
            "ensemble size, width, layers and heads"
        )
    for name, weight in own.items():
        if not name.endswith(_PER_RECEIVER):
            weight.copy_(known[name])
            continue
        for row, token in enumerate(tokens):
            # A new receiver adds nothing at first, so that the others mean what they did.
            weight[row] = 0 if token is None else known[name][token]


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {
        name: weight.shape[1:] if name.endswith(_PER_RECEIVER) else weight.shape
        for name, weight in weights.items()
    }
