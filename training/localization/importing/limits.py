"""Size limits of the arrays of an import, checked while its rows are read."""

from __future__ import annotations

from training.localization.config import MAX_CELLS

MAX_RECEIVERS = 1000
MAX_SAMPLES = 2_000_000
# Of the JSON of all sample IDs, which the header of the dataset's file holds.
MAX_ID_BYTES = 48 * 1024 * 1024


def refuse_samples(samples: int, receivers: int) -> str:
    """The error if there are too many samples; else empty."""
    if samples > MAX_SAMPLES:
        return f"more than {MAX_SAMPLES:,} samples; import fewer"
    if samples * receivers <= MAX_CELLS:
        return ""
    return (
        f"{samples:,} samples x {receivers:,} receivers are more than the limit of {MAX_CELLS:,}; "
        "leave out receivers that are rarely heard, or import fewer samples"
    )
