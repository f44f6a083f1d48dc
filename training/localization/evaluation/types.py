"""The JSON of an evaluation and of a dataset summary, as it is stored and shown on pages."""

from __future__ import annotations

from typing import TypedDict

from training.localization.data.dataset import Split
from training.localization.metrics import ErrorSummary


class SplitMetrics(ErrorSummary):
    samples: int
    coverage_68: float
    coverage_95: float
    nll: float


class GoodGeometryMetrics(TypedDict):
    samples: int
    rmse_m: float | None
    bound_rmse_m: float | None
    definition: str


class MemberErrors(ErrorSummary):
    weight: float


class ErrorCdf(TypedDict):
    """Errors in meters at each cumulative probability in `share`."""

    share: list[float]
    model: list[float]
    baselines: dict[str, list[float]]


class ReceiverCountErrors(TypedDict):
    receivers: int
    samples: int
    rmse_m: float
    median_m: float


# "from" is a keyword, so the class syntax cannot declare it.
GdopErrors = TypedDict(
    "GdopErrors",
    {"from": float, "to": float | None, "samples": int, "rmse_m": float, "median_m": float},
)


class LargestError(TypedDict):
    sample: str
    lat: float
    lon: float
    predicted_lat: float
    predicted_lon: float
    error_m: float


class FrameOrigin(TypedDict):
    lat0: float
    lon0: float


class SamplePredictions(TypedDict):
    """Positions in meters [n, 2], covariances [n, 3] as (ee, en, nn), receivers as (x, y, name)."""

    target: list[list[float]]
    mean: list[list[float]]
    covariance: list[list[float]]
    receivers: list[list[float | str]]
    frame: FrameOrigin


class Evaluation(TypedDict):
    """Results on the test split. Bounds are None if the physics is unknown."""

    verdict: str
    test: SplitMetrics
    members: dict[str, MemberErrors]
    temperature: float
    stretch_95: float
    refined: bool
    split: str
    leaks: bool
    baselines: dict[str, ErrorSummary]
    bound_rmse_m: float | None
    bayes_rmse_m: float | None
    good_geometry: GoodGeometryMetrics
    cdf: ErrorCdf
    by_receivers: list[ReceiverCountErrors]
    by_gdop: list[GdopErrors]
    worst: list[LargestError]
    points: SamplePredictions


class ReceiverSummary(TypedDict):
    id: str
    lat: float | None
    lon: float | None
    alt_m: float | None
    heard_share: float


class HeardPerSample(TypedDict):
    min: int
    median: float
    max: int


class ReceiverCount(TypedDict):
    receivers: int
    samples: int


class MapPoint(TypedDict):
    lat: float
    lon: float
    split: Split


class DatasetSummary(TypedDict):
    """`floor_m`: median Cramér-Rao bound of the test split; None if the physics is unknown."""

    samples: int
    kind: str
    receivers: list[ReceiverSummary]
    split: dict[str, int]
    split_by: str
    leaks: bool
    heard_per_sample: HeardPerSample
    heard_by: list[ReceiverCount]
    signals: list[str]
    area_km: list[float]
    map: list[MapPoint]
    floor_m: float | None
