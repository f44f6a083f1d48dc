"""The description of a position."""

from __future__ import annotations

from training.programs.positions import Ellipse, Position


def title(position: Position, number: int) -> str:
    """The name of the sample; a single one may have none."""
    return position["sample_id"] or f"Position {number}"


def describe(position: Position) -> str:
    return (
        f"Locator {position['locator']}. 68 % ellipse {_axes(position['ellipse_68'])}, 95 % "
        f"ellipse {_axes(position['ellipse_95'])}. Heard by {', '.join(position['receivers'])}."
    )


def _axes(ellipse: Ellipse) -> str:
    """Both full axes."""
    major, minor = 2 * ellipse["semi_major_m"], 2 * ellipse["semi_minor_m"]
    return f"{major:,.0f} × {minor:,.0f} m"
