"""What can be chosen about a training or a synthetic dataset, with bounds and defaults.

The one place for them: the API validates with these models, the forms are drawn from them (title
and description), and the trainer reads them.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_MODEL_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainConfig(BaseModel):
    """The hyper-parameters of one training."""

    model_config = _MODEL_CONFIG

    epochs: int = Field(
        60, ge=1, le=100_000, title="Epochs", description="Passes over the training split."
    )
    batch_size: int = Field(
        64, ge=1, le=65_536, title="Batch size", description="Samples per optimiser step."
    )
    learning_rate: float = Field(
        1e-3,
        gt=0,
        le=1,
        title="Learning rate",
        description="Peak step size of AdamW; it rises briefly, then decays.",
    )
    patience: int = Field(
        20,
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
    model: Literal["attention"] = Field(
        "attention", title="Model", description="Receivers as a set, pooled by attention."
    )
    hidden: int = Field(
        128, ge=16, le=1024, title="Width", description="Width of the network; a multiple of heads."
    )
    layers: int = Field(
        2, ge=1, le=8, title="Layers", description="Self-attention blocks over the receivers."
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
        1e-4, ge=0, le=1, title="Weight decay", description="Decoupled weight decay of AdamW."
    )
    gradient_clip: float = Field(
        1.0, gt=0, le=1000, title="Gradient clip", description="Largest norm of a gradient."
    )

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(
                f"heads: {self.heads} does not divide hidden ({self.hidden}); "
                "choose a width that is a multiple of the heads"
            )
        return self


class ReceiverSpec(BaseModel):
    """A fixed receiver; degrees on WGS-84, metres above the sea."""

    model_config = _MODEL_CONFIG

    name: str = Field(min_length=1, max_length=100, title="Name", description="Its own name.")
    lat: float = Field(ge=-90, le=90, title="Latitude", description="Degrees north, WGS-84.")
    lon: float = Field(ge=-180, le=180, title="Longitude", description="Degrees east, WGS-84.")
    alt_m: float = Field(
        0.0,
        ge=-500,
        le=9000,
        title="Altitude",
        description="Metres above the sea; transmitters stand at 0.",
    )


# Stations of north-western Italy, for amateur signals at 145 MHz.
ITALY = tuple(
    ReceiverSpec(name=name, lat=lat, lon=lon, alt_m=alt)
    for name, lat, lon, alt in (
        ("Aquila di Giaveno", 45.03, 7.27, 600),
        ("Montanaro", 45.234, 7.857, 300),
        ("Torino", 45.044, 7.672, 250),
        ("Coazze", 45.048, 7.238, 700),
        ("Passo dei Giovi", 44.561, 8.956, 480),
        ("Genova", 44.395, 8.956, 100),
        ("Milano-Baggio", 45.478, 9.123, 120),
    )
)

# The plane on which positions are computed is true to a thousandth within this.
_FARTHEST_KM = 600.0


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
    def _names_differ(self) -> Self:
        names = [receiver.name for receiver in self.receivers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"receivers: {name!r} is there twice; each needs its own name")
        return self

    @model_validator(mode="after")
    def _receivers_fit_one_plane(self) -> Self:
        for one, other in combinations(self.receivers, 2):
            apart = _chord_km(one, other)
            if apart > _FARTHEST_KM:
                raise ValueError(
                    f"receivers: {one.name!r} and {other.name!r} are {apart:,.0f} km apart; at "
                    f"most {_FARTHEST_KM:.0f} is possible. Are latitude and longitude swapped?"
                )
        return self


def _chord_km(one: ReceiverSpec, other: ReceiverSpec) -> float:
    """Straight through a round earth: near enough for a limit, and without trigonometric care."""

    def place(spec: ReceiverSpec) -> tuple[float, float, float]:
        lat, lon = math.radians(spec.lat), math.radians(spec.lon)
        return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)

    return 6371.0 * math.dist(place(one), place(other))
