"""Settings of a training, a synthetic dataset and an import, with bounds and defaults.

The API validates requests with these models, the forms take titles and descriptions from them, and
the trainer process reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NotRequired, Self, TypedDict, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from training.localization.receivers import ITALY, ReceiverSpec, check_receivers
from training.localization.table_mapping import TableMapping

LossKind = Literal["distance", "squared"]
_QUEUE_POLICY = frozenset({"needs", "priority", "processes"})
_MODEL_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
# Samples x receivers of a dataset: about 200 MB on disk, and a few times that while it is made.
MAX_CELLS = 16_000_000


class TrainConfig(BaseModel):
    """Hyperparameters of one training."""

    model_config = _MODEL_CONFIG

    epochs: int = Field(
        80, ge=1, le=100_000, title="Epochs", description="Passes over the training split."
    )
    batch_size: int = Field(
        64, ge=1, le=65_536, title="Batch size", description="Samples per optimizer step."
    )
    learning_rate: float = Field(
        2e-3,
        gt=0,
        le=1,
        title="Learning rate",
        description="Peak learning rate of AdamW, after a short warm-up and before a cosine decay.",
    )
    patience: int = Field(
        30,
        ge=1,
        le=100_000,
        title="Patience",
        description="Early stopping: epochs without a lower validation loss before training stops.",
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="The same seed gives the same numbers on the same machine.",
    )
    model: Literal["mlp", "attention"] = Field(
        "mlp",
        title="Model",
        description="mlp: separate weights for each receiver, fast, for fixed receivers; "
        "attention: self-attention across receivers, for moving or sparse ones.",
    )
    loss: LossKind = Field(
        "distance",
        title="Loss",
        description="distance: robust to outliers (median error); squared: minimizes RMSE, "
        "sensitive to outliers (mean).",
    )
    members: int = Field(
        1,
        ge=1,
        le=16,
        title="Ensemble size",
        description="Number of networks. Larger ensembles are more accurate and better "
        "calibrated; the cost grows linearly.",
    )
    hidden: int = Field(
        256,
        ge=16,
        le=1024,
        title="Width",
        description="Width of the hidden layers; a multiple of the number of heads.",
    )
    layers: int = Field(
        2,
        ge=1,
        le=8,
        title="Layers",
        description="Number of residual (mlp) or self-attention blocks.",
    )
    heads: int = Field(
        4,
        ge=1,
        le=16,
        validate_default=True,
        title="Heads",
        description="Number of attention heads; must divide the width.",
    )
    dropout: float = Field(
        0.1,
        ge=0,
        le=0.9,
        title="Dropout",
        description="Fraction of activations dropped during training.",
    )
    receiver_dropout: float = Field(
        0.1,
        ge=0,
        le=0.9,
        title="Receiver dropout",
        description="Probability of hiding a receiver from a sample during training.",
    )
    weight_decay: float = Field(
        1e-2, ge=0, le=1, title="Weight decay", description="Decoupled weight decay of AdamW."
    )
    gradient_clip: float = Field(
        1.0, gt=0, le=1000, title="Gradient clip", description="Maximum norm of the gradient."
    )
    refine: bool = Field(
        True,
        title="Refine with arrival times",
        description="Refines positions with arrival times (Gauss-Newton, with the network's output "
        "as prior) if that lowers the validation error.",
    )
    portfolio: bool = Field(
        True,
        title="Portfolio",
        description="Also fits extremely randomized trees, nearest neighbors and a propagation "
        "model, and takes the weighted mean; the weights are chosen on the validation split.",
    )
    precision: Literal["float32", "bf16"] = Field(
        "float32",
        title="Precision",
        description="bf16: mixed precision (GPU only).",
    )

    @classmethod
    def from_stored(cls, stored: Mapping[str, object]) -> Self:
        """The settings in a checkpoint; those of before version 0.2 hold the queue policy too."""
        return cls.model_validate(
            {name: value for name, value in stored.items() if name not in _QUEUE_POLICY}
        )

    @field_validator("heads")
    @classmethod
    def _heads_divide_hidden(cls, heads: int, info: ValidationInfo) -> int:
        hidden = info.data.get("hidden")  # absent if it is invalid itself
        if hidden is not None and hidden % heads:
            raise ValueError(
                f"{heads} does not divide the width (hidden = {hidden}); "
                f"choose a width that is a multiple of {heads}"
            )
        return heads


class Physics(TypedDict):
    """The settings of a synthetic dataset as its file stores them: all but the receivers."""

    samples: int
    seed: int
    frequency_mhz: float
    transmit_dbm: float
    path_loss_exponent: float
    shadowing_db: float
    shadowing_reach_km: NotRequired[float | None]  # absent in older files
    noise_floor_dbm: float
    detection_snr_db: float
    timing_sigma_ns: float | None
    margin_km: float


class GenerateConfig(BaseModel):
    """Settings of a synthetic dataset: size, receivers and propagation."""

    model_config = _MODEL_CONFIG

    samples: int = Field(
        10_000,
        ge=20,
        le=2_000_000,
        title="Samples",
        description="Number of transmissions to simulate.",
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, title="Seed", description="The same seed gives the same dataset."
    )
    receivers: tuple[ReceiverSpec, ...] = Field(
        ITALY,
        min_length=1,
        max_length=64,
        title="Receivers",
        description="Fixed receivers, always in service: name, latitude, longitude, altitude.",
    )
    frequency_mhz: float = Field(
        145.0, ge=1, le=10_000, title="Frequency (MHz)", description="Carrier frequency."
    )
    transmit_dbm: float = Field(
        37.0, ge=-30, le=80, title="Transmit power (dBm)", description="37 dBm is 5 W."
    )
    path_loss_exponent: float = Field(
        3.0,
        ge=1.5,
        le=6,
        title="Path loss exponent",
        description="2 in free space, 3 to 4 over land.",
    )
    shadowing_db: float = Field(
        6.0,
        ge=0,
        le=30,
        title="Shadowing (dB)",
        description="Standard deviation of the log-normal shadowing.",
    )
    shadowing_reach_km: float | None = Field(
        None,
        gt=0,
        le=1000,
        title="Shadowing correlation distance (km)",
        description="Distance at which the correlation of the shadowing falls to 1/e; empty: "
        "independent for each sample.",
    )
    noise_floor_dbm: float = Field(
        -120.0, ge=-180, le=0, title="Noise floor (dBm)", description="Noise power in the channel."
    )
    detection_snr_db: float = Field(
        6.0,
        ge=-20,
        le=60,
        title="Detection SNR (dB)",
        description="Minimum SNR for detection.",
    )
    timing_sigma_ns: float | None = Field(
        1000.0,
        gt=0,
        le=1e9,
        title="Timing error (ns)",
        description="Standard deviation of the times of arrival; empty: no arrival times.",
    )
    margin_km: float = Field(
        20.0,
        ge=0.1,
        le=500,
        title="Margin (km)",
        description="How far outside the receiver area transmitters may be.",
    )

    @field_validator("receivers")
    @classmethod
    def _receivers_fit(cls, receivers: tuple[ReceiverSpec, ...]) -> tuple[ReceiverSpec, ...]:
        check_receivers(receivers)
        return receivers

    @field_validator("receivers")
    @classmethod
    def _arrays_fit(
        cls, receivers: tuple[ReceiverSpec, ...], info: ValidationInfo
    ) -> tuple[ReceiverSpec, ...]:
        samples = info.data.get("samples")  # absent if it is invalid itself
        if samples is not None and samples * len(receivers) > MAX_CELLS:
            raise ValueError(
                f"{samples:,} samples x {len(receivers)} receivers are more than the limit of "
                f"{MAX_CELLS:,}; use fewer of either"
            )
        return receivers

    def physics(self) -> Physics:
        return cast(Physics, self.model_dump(mode="json", exclude={"receivers"}))


class ImportConfig(BaseModel):
    """How measured samples are split where samples.csv has no `split` column."""

    model_config = _MODEL_CONFIG

    split_by: Literal["auto", "place", "column", "random"] = Field(
        "auto",
        title="Split by",
        description="auto: the split column, else whole groups, else whole grid squares; place: "
        "grid squares; column: samples with the same value stay together; random: neighboring "
        "samples leak, so results are too optimistic.",
    )
    split_column: str = Field(
        "group",
        min_length=1,
        max_length=100,
        title="Column",
        description="Column of samples.csv to split by, such as a session, a day or a device.",
    )
    split_seed: int = Field(
        0, ge=0, le=2**31 - 1, title="Split seed", description="The same seed gives the same split."
    )
    mapping: TableMapping | None = Field(
        None,
        title="Columns",
        description="What the columns of a single table hold. A dry run guesses it.",
    )
