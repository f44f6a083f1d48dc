"""Request and response bodies of API tokens."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from rest_framework import serializers

from training.accounts import tokens
from training.api.serializers.inputs import InputSerializer, NameField
from training.models import ApiToken
from training.models.scopes import DEFAULT_SCOPES, SCOPES


class TokenRequestSerializer(InputSerializer):
    refuses_unknown = True
    username = serializers.CharField(min_length=1)
    password = serializers.CharField(min_length=1, trim_whitespace=False)
    name = NameField(
        max_length=100,
        default="",
        allow_blank=True,
        help_text="Token name, shown in the list of tokens.",
    )
    days = serializers.IntegerField(
        min_value=1,
        max_value=settings.TOKEN_MAX_DAYS,
        default=tokens.default_days,
        help_text="Days until it expires.",
    )
    scopes = serializers.MultipleChoiceField(
        choices=list(SCOPES),
        allow_empty=False,
        default=lambda: set(map(str, DEFAULT_SCOPES)),
        help_text="; ".join(f"`{name}`: {text}" for name, text in SCOPES.items())
        + f". Default: {', '.join(DEFAULT_SCOPES)}.",
    )


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField()
    id = serializers.IntegerField()
    expires_at = serializers.DateTimeField()
    scopes = serializers.ListField(child=serializers.ChoiceField(list(SCOPES)))


class TokenRowSerializer(serializers.ModelSerializer[ApiToken]):
    scopes = serializers.ListField(child=serializers.ChoiceField(list(SCOPES)))

    class Meta:
        model = ApiToken
        fields: ClassVar = ["id", "name", "scopes", "created_at", "expires_at", "last_used_at"]
        read_only_fields = fields
