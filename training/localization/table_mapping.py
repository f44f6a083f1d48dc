"""Which column of a single table of measurements holds what."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.programs.measurements import MAX_ID_LENGTH

Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Quantity = Literal["rssi_dbm", "snr_db", "toa_ns"]
_MODEL_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
# How a position is given, by the fields of a mapping that name its columns.
POSITIONS = (("lat", "lon"), ("locator",), ("x_m", "y_m"))


def _column(description: str) -> str:
    """A field with the name of a column; empty: the table has none."""
    column: str = Field("", max_length=1000, description=description)
    return column


class ReceiverColumn(BaseModel):
    """A column of a wide table: the readings of one receiver, and the position of the receiver."""

    model_config = _MODEL_CONFIG

    receiver_id: str = Field(min_length=1, max_length=MAX_ID_LENGTH)
    quantity: Quantity = "rssi_dbm"
    lat: Latitude | None = None
    lon: Longitude | None = None
    alt_m: float | None = Field(None, ge=-500, le=20_000)

    @model_validator(mode="after")
    def _check_position(self) -> Self:
        if (self.lat is None) != (self.lon is None):
            raise ValueError("give both lat and lon, or neither")
        if self.lat is None and self.alt_m is not None:
            raise ValueError("alt_m without lat and lon")
        return self


class TableMapping(BaseModel):
    """A wide table has a row for each sample and a column for each receiver; a long table has a
    row for each reading. Fields are names of columns; an empty one is not in the table."""

    model_config = _MODEL_CONFIG

    layout: Literal["wide", "long"]
    sheet: str = Field("", max_length=255, description="Sheet of a workbook; empty: the first one.")
    sample_id: tuple[str, ...] = Field(
        (),
        max_length=10,
        description="Columns that identify a sample together. Empty: each row is a sample.",
    )
    lat: str = _column("Latitude of the transmitter, in degrees.")
    lon: str = _column("Longitude of the transmitter, in degrees.")
    locator: str = _column("Maidenhead locator of the transmitter, instead of lat and lon.")
    x_m: str = _column("Meters east of `origin`, instead of lat and lon.")
    y_m: str = _column("Meters north of `origin`.")
    origin: tuple[Latitude, Longitude] = Field(
        (0.0, 0.0), description="Latitude and longitude of x_m = y_m = 0."
    )
    split: str = _column("train, val or test.")
    group: str = _column("Samples of a group stay in one split.")
    receiver_id: str = _column("Receiver of a row; only for long tables.")
    rssi_dbm: str = _column("Only for long tables.")
    snr_db: str = _column("Only for long tables.")
    toa_ns: str = _column("Time of arrival; only for long tables.")
    receiver_lat: str = _column("Latitude of the receiver; only for long tables.")
    receiver_lon: str = _column("Longitude of the receiver; only for long tables.")
    receiver_alt_m: str = _column("Height of the receiver above sea level; only for long tables.")
    receivers: dict[str, ReceiverColumn] = Field(
        default_factory=dict, max_length=3000, description="By column; only for wide tables."
    )
    not_heard: tuple[float, ...] = Field(
        (), max_length=10, description="Numbers that mean that the receiver heard nothing."
    )

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        given = [names for names in POSITIONS if any(getattr(self, name) for name in names)]
        if len(given) != 1 or not all(getattr(self, name) for name in given[0]):
            raise ValueError("name the columns of a position: lat and lon, locator, or x_m and y_m")
        if self.layout == "wide":
            if not self.receivers:
                raise ValueError("a wide table needs receivers, by the name of their column")
            pairs = [(one.receiver_id, one.quantity) for one in self.receivers.values()]
            if len(set(pairs)) < len(pairs):
                raise ValueError("two columns hold the same quantity of the same receiver")
        elif not self.receiver_id or not any(self.quantities):
            raise ValueError("a long table needs receiver_id and rssi_dbm, snr_db or toa_ns")
        elif not self.sample_id:
            raise ValueError("a long table needs sample_id, the columns that identify a sample")
        return self

    @property
    def quantities(self) -> dict[str, str]:
        """Columns of a long table by quantity."""
        named = {"rssi_dbm": self.rssi_dbm, "snr_db": self.snr_db, "toa_ns": self.toa_ns}
        return {quantity: column for quantity, column in named.items() if column}

    def columns(self) -> set[str]:
        """Every column that is read."""
        return set(self.meanings())

    def meanings(self) -> dict[str, str]:
        """What each column that is read holds."""
        found = dict.fromkeys(self.sample_id, "sample_id")
        for name in (*sum(POSITIONS, ()), "split", "group", "receiver_id", "rssi_dbm", "snr_db",
                     "toa_ns", "receiver_lat", "receiver_lon", "receiver_alt_m"):  # fmt: skip
            if column := getattr(self, name):
                found.setdefault(column, name)
        for column, receiver in self.receivers.items():
            found[column] = f"{receiver.quantity} of receiver {receiver.receiver_id}"
        return found
