from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone

from training.accounts.sign_in_limits import FREE_FAILURES, MAX_PAUSE, TooManyFailuresError
from training.models import SignInAttempts


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    now = [timezone.now()]
    monkeypatch.setattr("training.accounts.sign_in_limits.timezone.now", lambda: now[0])
    return now


def sign_in(password: str, address: str = "192.0.2.1", name: str = "ada") -> bool:
    request = RequestFactory().post("/login", REMOTE_ADDR=address)
    return authenticate(request, username=name, password=password) is not None


def pause(address: str = "192.0.2.1", name: str = "ada") -> int:
    with pytest.raises(TooManyFailuresError) as caught:
        sign_in("ada-secret-1", address, name)
    return caught.value.seconds


def test_failures_from_many_networks_are_counted_together(ada: User) -> None:
    for n in range(FREE_FAILURES + 1):
        assert not sign_in("guess", f"2001:db8:0:{n}::1")
    assert pause("198.51.100.7") == 1


def test_sign_in_pauses_grow_to_a_limit_and_reset(ada: User, clock: list[Any]) -> None:
    for _ in range(FREE_FAILURES):
        assert not sign_in("guess")
    pauses = []
    for _ in range(12):
        assert not sign_in("guess")
        pauses.append(pause())
        clock[0] += timedelta(seconds=pauses[-1])
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == MAX_PAUSE.total_seconds()
    assert sign_in("ada-secret-1")
    assert not sign_in("guess")  # counted from the beginning again


def test_refused_attempts_do_not_extend_the_pause(ada: User, clock: list[Any]) -> None:
    for _ in range(FREE_FAILURES + 1):
        sign_in("guess")
    for _ in range(50):
        pause()
    clock[0] += timedelta(seconds=1)
    assert sign_in("ada-secret-1")


def test_failures_from_other_networks_do_not_block_sign_in_from_a_known_one(ada: User) -> None:
    assert sign_in("ada-secret-1", "2001:db8::1")
    for _ in range(FREE_FAILURES + 1):
        sign_in("guess", "203.0.113.9")
    assert pause("203.0.113.9") == 1
    assert sign_in("ada-secret-1", "2001:db8::ffff")  # the same /64


def test_sign_ins_from_a_known_network_are_limited_too(ada: User) -> None:
    assert sign_in("ada-secret-1")
    for _ in range(FREE_FAILURES + 1):
        sign_in("guess")
    assert pause() == 1


@pytest.mark.django_db
def test_unknown_user_names_are_limited_too_and_not_stored() -> None:
    for _ in range(FREE_FAILURES + 1):
        sign_in("guess", name="my password")
    assert pause(name="my password") == 1
    assert "my password" not in str(list(SignInAttempts.objects.values()))


def test_counts_are_deleted_after_an_hour(ada: User, clock: list[Any]) -> None:
    sign_in("guess")
    clock[0] += timedelta(hours=2)
    sign_in("guess", name="other")
    assert SignInAttempts.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_only_one_of_several_simultaneous_sign_ins_during_a_pause_is_checked(ada: User) -> None:
    for _ in range(FREE_FAILURES):
        sign_in("guess")

    def attempt(n: int) -> str:
        try:
            return "wrong" if not sign_in("guess", f"203.0.113.{n}") else "right"
        except TooManyFailuresError:
            return "refused"
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(16)))
    assert sorted(outcomes) == ["refused"] * 15 + ["wrong"]
