"""Times in request bodies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from django.utils import timezone
from pydantic import AfterValidator, AwareDatetime

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
CLOCK_SKEW = timedelta(days=1)


def _check(moment: datetime) -> datetime:
    if moment < EARLIEST:
        raise ValueError(f"{moment.isoformat()} is before 1970; send RFC 3339 with an offset")
    if moment > timezone.now() + CLOCK_SKEW:
        raise ValueError(f"{moment.isoformat()} is in the future; check the clock of the client")
    return moment


# RFC 3339, such as 2026-11-27T09:00:00Z, from 1970 to now.
PastMoment = Annotated[AwareDatetime, AfterValidator(_check)]
