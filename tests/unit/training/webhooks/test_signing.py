from __future__ import annotations

import pytest

from training.webhooks.delivery import JITTER, RETRY_DELAYS_SECONDS, retry_delay
from training.webhooks.signing import sign, signed_headers

# The vector of the specification's own libraries.
SECRET, ID, AT = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    1614265330,
)
BODY = b'{"test": 2432232314}'


def test_signature_matches_the_standard_webhooks_example() -> None:
    assert sign(SECRET, ID, AT, BODY) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_both_secrets_sign_during_rotation() -> None:
    found = signed_headers([SECRET, "whsec_b2xk"], ID, AT, BODY)
    assert found["webhook-id"] == ID
    assert found["webhook-timestamp"] == "1614265330"
    first, second = found["webhook-signature"].split(" ")
    assert first == sign(SECRET, ID, AT, BODY)
    assert second == sign("whsec_b2xk", ID, AT, BODY)


def test_retry_delays_grow_and_end() -> None:
    for attempt, pause in enumerate(RETRY_DELAYS_SECONDS, 1):
        found = retry_delay(attempt)
        assert found is not None
        assert pause * (1 - JITTER) <= found <= pause * (1 + JITTER)
    assert retry_delay(len(RETRY_DELAYS_SECONDS) + 1) is None
    assert sum(RETRY_DELAYS_SECONDS) > 40 * 3600


@pytest.mark.parametrize(("retry_after", "least"), [(300, 300), (10**9, 24 * 3600)])
def test_retry_after_can_lengthen_the_delay(retry_after: float, least: float) -> None:
    assert retry_delay(1, retry_after) == least
