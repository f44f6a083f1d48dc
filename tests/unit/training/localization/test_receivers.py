from __future__ import annotations

import pytest
from pydantic import ValidationError

from training.localization.receivers import ITALY, ReceiverSpec, check_receivers


def test_default_receivers_are_valid() -> None:
    check_receivers(ITALY)


def test_repeated_receiver_name_is_an_error() -> None:
    renamed = ITALY[1].model_copy(update={"name": ITALY[0].name})
    with pytest.raises(ValueError, match=r"'Aquila di Giaveno' is used 2 times; make it unique"):
        check_receivers([ITALY[0], renamed])


def test_receivers_too_far_apart_are_an_error_with_names_and_distance() -> None:
    rome = ReceiverSpec(name="Roma", lat=41.9, lon=12.5)
    check_receivers([ITALY[2], rome])  # 525 km
    naples = ReceiverSpec(name="Napoli", lat=40.85, lon=14.27)
    with pytest.raises(ValueError, match=r"'Torino' and 'Napoli' are 71\d km apart; the limit is"):
        check_receivers([ITALY[2], naples])


@pytest.mark.parametrize("field", [{"lat": 90.1}, {"lon": -181}, {"alt_m": 9001}, {"name": ""}])
def test_receiver_out_of_bounds_is_an_error(field: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ReceiverSpec.model_validate({"name": "a", "lat": 45, "lon": 7, **field})
