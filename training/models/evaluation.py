"""The fields of `TrainedModel.evaluation` that pages read. Programs may report more."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class PositionErrors(TypedDict, total=False):
    mean_m: float
    rmse_m: float | None
    median_m: float
    p95_m: float


class MemberErrors(PositionErrors, total=False):
    weight: float


class ErrorCdf(TypedDict):
    """Errors in meters at each cumulative probability in `share`."""

    share: list[float]
    model: list[float]
    baselines: NotRequired[dict[str, list[float]]]


class MapPoints(TypedDict):
    """Positions in meters [n, 2], covariances [n, 3] as (ee, en, nn), receivers as (x, y, name)."""

    target: list[list[float]]
    mean: list[list[float]]
    covariance: NotRequired[list[list[float]]]
    receivers: NotRequired[list[tuple[float | None, float | None, str]]]


class Evaluation(TypedDict, total=False):
    """Results on the test split. Evaluations of older versions have fewer fields."""

    verdict: str
    test: PositionErrors
    members: dict[str, MemberErrors]
    baselines: dict[str, PositionErrors]
    bound_rmse_m: float | None
    cdf: ErrorCdf
    points: MapPoints
