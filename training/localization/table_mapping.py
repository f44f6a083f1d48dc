"""The mapping of the columns of a single table of measurements."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.localization.utm import parse_zone
from training.programs.measurements import MAX_ID_LENGTH

Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Quantity = Literal["rssi_dbm", "snr_db", "toa_ns"]
Repeated = Literal["refuse", "mean"]
_MODEL_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
# How a position is given, by the fields of a mapping that name its columns.
POSITIONS = (("lat", "lon"), ("locator",), ("x_m", "y_m"), ("easting", "northing"))


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
    x_m: float | None = Field(None, description="Instead of lat and lon, where samples have x_m "
                              "and y_m, or easting and northing.")  # fmt: skip
    y_m: float | None = None
    alt_m: float | None = Field(None, ge=-500, le=20_000)

    @model_validator(mode="after")
    def _check_position(self) -> Self:
        if (self.lat is None) != (self.lon is None):
            raise ValueError("give both lat and lon, or neither")
        if (self.x_m is None) != (self.y_m is None):
            raise ValueError("give both x_m and y_m, or neither")
        if self.lat is not None and self.x_m is not None:
            raise ValueError("give lat and lon, or x_m and y_m")
        if self.lat is None and self.x_m is None and self.alt_m is not None:
            raise ValueError("alt_m without a position")
        return self


class ReadingMapping(BaseModel):
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
        self._check_readings()
        return self

    def _check_readings(self) -> None:
        if self.layout == "wide":
            if not self.receivers:
                raise ValueError("a wide table needs receivers, by the name of their column")
            pairs = [(one.receiver_id, one.quantity) for one in self.receivers.values()]
            if len(set(pairs)) < len(pairs):
                raise ValueError("two columns hold the same quantity of the same receiver")
        elif not self.receiver_id or not any(self.quantities):
            raise ValueError("a long table needs receiver_id and rssi_dbm, snr_db or toa_ns")

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
        for name in self._roles():
            if column := getattr(self, name):
                found.setdefault(column, name)
        for column, receiver in self.receivers.items():
            found[column] = f"{receiver.quantity} of receiver {receiver.receiver_id}"
        return found

    def _roles(self) -> tuple[str, ...]:
        """The fields that name one column each."""
        return ("receiver_id", "rssi_dbm", "snr_db", "toa_ns", "receiver_lat", "receiver_lon",
                "receiver_alt_m")  # fmt: skip


class TableMapping(ReadingMapping):
    """The columns of samples whose position is known."""

    lat: str = _column("Latitude of the transmitter, in degrees.")
    lon: str = _column("Longitude of the transmitter, in degrees.")
    locator: str = _column("Maidenhead locator of the transmitter, instead of lat and lon.")
    x_m: str = _column("Meters to the east, instead of lat and lon.")
    y_m: str = _column("Meters to the north.")
    offset_m: tuple[float, float] = Field(
        (0.0, 0.0), description="x_m and y_m of `origin`, which is within 500 km of all samples."
    )
    origin: tuple[Latitude, Longitude] = Field(
        (0.0, 0.0), description="Latitude and longitude of x_m and y_m = `offset_m`."
    )
    easting: str = _column("UTM coordinate on WGS-84, instead of lat and lon.")
    northing: str = _column("UTM coordinate.")
    utm_zone: str = Field(
        "",
        max_length=10,
        description="Zone and hemisphere (N or S), or zone and band of latitude, as in 32T.",
    )
    zone: str = _column("Column of the UTM zone, instead of `utm_zone`.")
    receiver_x_m: str = _column(
        "Only for long tables, instead of receiver_lat: meters as in x_m, or the easting."
    )
    receiver_y_m: str = _column("Only for long tables: meters as in y_m, or the northing.")
    repeated: Repeated = Field(
        "refuse",
        description="Several readings of a receiver in a sample are refused, or their mean level "
        "in dB is taken. Only for long tables.",
    )
    split: str = _column("train, val or test.")
    group: str = _column("Samples of a group stay in one split.")

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        given = [names for names in POSITIONS if any(getattr(self, name) for name in names)]
        if len(given) != 1 or not all(getattr(self, name) for name in given[0]):
            raise ValueError(
                "name the columns of a position: lat and lon, locator, x_m and y_m, or easting and "
                "northing"
            )
        if bool(self.easting) != (bool(self.utm_zone) != bool(self.zone)):
            raise ValueError(
                "easting and northing need utm_zone, such as 32N, or zone, the column that has it; "
                "other positions have neither"
            )
        if self.utm_zone:
            parse_zone(self.utm_zone)
        self._check_receivers()
        self._check_readings()
        if self.layout == "long" and not self.sample_id:
            raise ValueError("a long table needs sample_id, the columns that identify a sample")
        return self

    def _check_receivers(self) -> None:
        if bool(self.receiver_x_m) != bool(self.receiver_y_m):
            raise ValueError("name both receiver_x_m and receiver_y_m, or neither")
        if self.receiver_x_m and self.receiver_lat:
            raise ValueError("name receiver_lat and receiver_lon, or receiver_x_m and receiver_y_m")
        in_meters = self.receiver_x_m or any(one.x_m is not None for one in self.receivers.values())
        if in_meters and not (self.x_m or self.easting):
            raise ValueError("receivers in meters need samples in meters or UTM coordinates")
        if self.zone and any(one.x_m is not None for one in self.receivers.values()):
            raise ValueError("receivers in UTM coordinates need utm_zone instead of zone")

    def _roles(self) -> tuple[str, ...]:
        return (
            *sum(POSITIONS, ()),
            "zone",
            "receiver_x_m",
            "receiver_y_m",
            "split",
            "group",
            *super()._roles(),
        )
