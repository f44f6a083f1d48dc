"""Request and response bodies of API tokens."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from training.accounts.tokens import LIFETIME_DAYS
from training.models import ApiToken


class TokenRequestSerializer(serializers.Serializer[Any]):
    username = serializers.CharField(min_length=1)
    password = serializers.CharField(min_length=1, trim_whitespace=False)
    name = serializers.CharField(
        max_length=100,
        default="",
        allow_blank=True,
        help_text="Token name, shown in the list of tokens.",
    )
    days = serializers.IntegerField(
        min_value=1, max_value=3650, default=LIFETIME_DAYS, help_text="Days until it expires."
    )


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField()
    id = serializers.IntegerField()
    expires_at = serializers.DateTimeField()


class TokenRowSerializer(serializers.ModelSerializer[ApiToken]):
    class Meta:
        model = ApiToken
        fields: ClassVar = ["id", "name", "created_at", "expires_at", "last_used_at"]
        read_only_fields = fields
