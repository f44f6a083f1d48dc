"""Estimated positions of transmitters: what a program answers to measurements."""

from __future__ import annotations

from typing import TypedDict


class Ellipse(TypedDict):
    """Semi-axes in meters; azimuth of the major axis, clockwise from north, 0 to 180 degrees."""

    semi_major_m: float
    semi_minor_m: float
    azimuth_deg: float


class Position(TypedDict):
    """A position in degrees; rows and columns of the covariance are east and north.

    `locator` is its Maidenhead locator, `receivers` are those that heard the transmission.
    """

    sample_id: str
    lat: float
    lon: float
    covariance_m2: list[list[float]]
    ellipse_68: Ellipse
    ellipse_95: Ellipse
    locator: str
    receivers: list[str]
