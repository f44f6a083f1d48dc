"""What can be chosen about a training or a synthetic dataset, with bounds and defaults.

The one place for them: the API validates with these models, the forms are drawn from them (title
and description), and the trainer reads them.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.localization.receivers import ITALY, ReceiverSpec, check_receivers

LossKind = Literal["distance", "squared"]
_MODEL_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainConfig(BaseModel):
    """The hyper-parameters of one training."""

    model_config = _MODEL_CONFIG

    epochs: int = Field(
        80, ge=1, le=100_000, title="Epochs", description="Passes over the training split."
    )
    batch_size: int = Field(
        64, ge=1, le=65_536, title="Batch size", description="Samples per optimiser step."
    )
    learning_rate: float = Field(
        2e-3,
        gt=0,
        le=1,
        title="Learning rate",
        description="Peak step size of AdamW; it rises briefly, then decays.",
    )
    patience: int = Field(
        30,
        ge=1,
        le=100_000,
        title="Patience",
        description="Epochs without a better validation loss before the training stops.",
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
        description="mlp: each receiver has weights of its own, quick and right for fixed ones; "
        "attention: receivers as a set that attend to each other.",
    )
    loss: LossKind = Field(
        "distance",
        title="Loss",
        description="distance: small errors as a rule (the median of what is possible), and a few "
        "wild ones do not lead it; squared: the least RMSE (the mean of what is possible).",
    )
    members: int = Field(
        1,
        ge=1,
        le=16,
        title="Members",
        description="Networks in the ensemble; each costs as much as the first, and a few of them "
        "err less and know better how much.",
    )
    hidden: int = Field(
        256, ge=16, le=1024, title="Width", description="Width of the network; a multiple of heads."
    )
    layers: int = Field(
        2, ge=1, le=8, title="Layers", description="Residual (or self-attention) blocks."
    )
    heads: int = Field(
        4, ge=1, le=16, title="Heads", description="Attention heads; they divide the width."
    )
    dropout: float = Field(
        0.1, ge=0, le=0.9, title="Dropout", description="Share of activations dropped in training."
    )
    receiver_dropout: float = Field(
        0.1,
        ge=0,
        le=0.9,
        title="Receiver dropout",
        description="Chance that a receiver is hidden from a sample in training.",
    )
    weight_decay: float = Field(
        1e-2, ge=0, le=1, title="Weight decay", description="Decoupled weight decay of AdamW."
    )
    gradient_clip: float = Field(
        1.0, gt=0, le=1000, title="Gradient clip", description="Largest norm of a gradient."
    )
    refine: bool = Field(
        True,
        title="Refine by arrival times",
        description="Where they are there and the validation split gains by it: Gauss-Newton on "
        "the arrival times, with the network's Gaussian as prior.",
    )
    precision: Literal["float32", "bf16"] = Field(
        "float32",
        title="Precision",
        description="bf16: half as many bits in the network's products, on a GPU only.",
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        title="Processes",
        description="How many share each batch (torchrun); the numbers stay the same but for "
        "rounding.",
    )

    needs: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        title="Needs",
        description="auto: whichever worker is free; gpu: one that has a GPU; cpu: none is used.",
    )
    priority: int = Field(
        0,
        ge=-100,
        le=100,
        title="Priority",
        description="Of the jobs that wait, the one with the highest goes first.",
    )

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(
                f"heads: {self.heads} does not divide hidden ({self.hidden}); "
                "choose a width that is a multiple of the heads"
            )
        return self


class GenerateConfig(BaseModel):
    """A synthetic dataset: how many samples, who hears them, and how radio behaves."""

    model_config = _MODEL_CONFIG

    samples: int = Field(
        10_000, ge=20, le=2_000_000, title="Samples", description="Transmissions to make up."
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, title="Seed", description="The same seed gives the same dataset."
    )
    receivers: tuple[ReceiverSpec, ...] = Field(
        ITALY,
        min_length=1,
        max_length=64,
        title="Receivers",
        description="Fixed receivers, all in service: name, latitude, longitude, altitude.",
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
        title="Shadowing reach (km)",
        description="Distance over which the correlation of the shadowing falls to 1/e; empty: "
        "every sample is shadowed afresh.",
    )
    noise_floor_dbm: float = Field(
        -120.0, ge=-180, le=0, title="Noise floor (dBm)", description="Noise in the channel."
    )
    detection_snr_db: float = Field(
        6.0,
        ge=-20,
        le=60,
        title="Detection SNR (dB)",
        description="A signal less far above the noise is not heard.",
    )
    timing_sigma_ns: float | None = Field(
        1000.0,
        gt=0,
        le=1e9,
        title="Timing error (ns)",
        description="Standard deviation of a time of arrival; empty: no timing.",
    )
    margin_km: float = Field(
        20.0,
        ge=0.1,
        le=500,
        title="Margin (km)",
        description="Transmitters stand up to this far outside the receivers' hull.",
    )

    @model_validator(mode="after")
    def _receivers_fit(self) -> Self:
        check_receivers(self.receivers)
        return self


class ImportConfig(BaseModel):
    """How measured samples without a `split` column are divided, so that neighbours do not leak."""

    model_config = _MODEL_CONFIG

    split_by: Literal["auto", "place", "column", "random"] = Field(
        "auto",
        title="Split by",
        description="auto: the split column, else whole groups, else whole squares of the area; "
        "place: squares; column: samples with the same value stay together; random: neighbours "
        "leak, and every number looks better than it is.",
    )
    split_column: str = Field(
        "group",
        min_length=1,
        max_length=100,
        title="Column",
        description="Of samples.csv, for the split by column: a session, a day, a device.",
    )
    split_seed: int = Field(
        0, ge=0, le=2**31 - 1, title="Split seed", description="The same seed, the same split."
    )
