"""Response bodies of reports."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from training.models.states import Stop


class RejectionSerializer(serializers.Serializer[Any]):
    """A point that was not stored."""

    point = serializers.IntegerField(help_text="Its position in the batch, from 0.")
    reason = serializers.CharField()


class StopSerializer(serializers.Serializer[Any]):
    stop_requested = serializers.ChoiceField(
        Stop.choices, help_text="The stop that a user has requested: empty, pause or cancel."
    )


class BatchResultSerializer(StopSerializer):
    """The outcome of a batch; the same for each repetition."""

    accepted = serializers.IntegerField(help_text="Number of points that are stored.")
    rejected = RejectionSerializer(many=True)


class LogSizeSerializer(serializers.Serializer[Any]):
    size = serializers.IntegerField(help_text="Bytes of the log: the next offset.")
