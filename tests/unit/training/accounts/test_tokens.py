from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from training.accounts import tokens
from training.models import ApiToken, AuditEntry
from training.validation import InvalidInputError


def test_database_contains_only_a_digest(ada: User) -> None:
    row, token = tokens.create_token(ada, "laptop")
    stored = ApiToken.objects.values().get(pk=row.pk)
    assert token not in map(str, stored.values())
    assert user_of(token) == ada


def test_creation_is_audited_without_the_token(ada: User) -> None:
    row, token = tokens.create_token(ada, "laptop", days=7)
    entry = AuditEntry.objects.get(action="token created")
    assert (entry.actor, entry.target) == ("ada", f"token {row.pk} 'laptop'")
    assert entry.detail == {"days": 7, "scopes": ["read", "report", "train"]}
    assert token not in str(entry.__dict__)


@pytest.mark.parametrize("token", ["", "x", "é", "a" * 10_000])
@pytest.mark.django_db
def test_unknown_token_is_not_authenticated(token: str) -> None:
    assert tokens.authenticate(token) is None


def test_expired_token_is_not_authenticated(ada: User) -> None:
    row, token = tokens.create_token(ada)
    ApiToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert tokens.authenticate(token) is None
    assert tokens.valid_token_ids([token]) == set()


def test_token_without_expiry_is_valid(ada: User) -> None:
    row, token = tokens.create_token(ada)
    ApiToken.objects.filter(pk=row.pk).update(expires_at=None)
    assert user_of(token) == ada


def test_token_is_valid_after_a_change_of_the_secret_key(ada: User, settings: Any) -> None:
    _, token = tokens.create_token(ada)
    settings.SECRET_KEY = "another"
    assert user_of(token) == ada


def test_token_of_a_deactivated_user_is_not_authenticated(ada: User) -> None:
    _, token = tokens.create_token(ada)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert tokens.authenticate(token) is None


def test_last_use_is_written_at_most_once_a_minute(ada: User) -> None:
    row, token = tokens.create_token(ada)
    tokens.authenticate(token)
    recent = timezone.now() - timedelta(seconds=30)
    old = timezone.now() - timedelta(seconds=90)
    for stored, is_written in ((recent, False), (old, True)):
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=stored)
        tokens.authenticate(token)
        row.refresh_from_db()
        assert (row.last_used_at != stored) == is_written


def test_valid_tokens_are_picked_out_of_several(ada: User, bob: User) -> None:
    (_, first), (second_row, second), (_, third) = (
        tokens.create_token(user) for user in (ada, ada, bob)
    )
    tokens.revoke_token(second_row)
    assert tokens.valid_token_ids([first, second, third, "unknown"]) == {first, third}


def user_of(token: str) -> User | None:
    found = tokens.authenticate(token)
    return found[0] if found else None


def test_number_of_tokens_is_bounded_and_expired_ones_do_not_count(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 2)
    first, _ = tokens.create_token(ada)
    tokens.create_token(ada)
    with pytest.raises(InvalidInputError, match="You already have 2 tokens, the maximum"):
        tokens.create_token(ada)
    long_ago = timezone.now() - timedelta(days=1)
    ApiToken.objects.filter(pk=first.pk).update(expires_at=long_ago)
    tokens.create_token(ada)
    assert ApiToken.objects.count() == 2
