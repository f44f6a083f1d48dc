"""Webhooks over HTTP: who is told of what, and how the telling went."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound
from rest_framework.mixins import DestroyModelMixin, ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import visible_to
from training.api import pagination, query_params
from training.api.idempotency import PARAMETER, REFUSAL_RESPONSES, create_once
from training.api.serializers.jobs import ProblemSerializer
from training.api.views.base import UserViewSet
from training.models.webhooks import Delivery, Webhook
from training.validation import InvalidInputError, validate
from training.webhooks import outbox, service
from training.webhooks.service import CreateWebhook, WebhookPatch


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    """A webhook; its secret is shown once, where it is made."""

    owner = serializers.CharField(source="owner.username", read_only=True)
    events = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Webhook
        fields: ClassVar = [
            "id", "owner", "url", "events", "description", "enabled", "disabled_reason",
            "failures", "failing_since", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewWebhookSerializer(WebhookSerializer):
    """The same with its secret: keep it, it cannot be read again."""

    class Meta(WebhookSerializer.Meta):
        fields: ClassVar = [*WebhookSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """One event for one webhook, and what came of the last attempt."""

    message_id = serializers.CharField(read_only=True, help_text="The header `webhook-id`.")
    payload = serializers.SerializerMethodField()

    class Meta:
        model = Delivery
        fields: ClassVar = [
            "id", "message_id", "event", "status", "attempts", "response_code", "duration_ms",
            "error", "created_at", "attempted_at", "next_attempt_at", "payload",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_payload(self, delivery: Delivery) -> Any:
        return json.loads(delivery.body)


@contextmanager
def _invalid_as_field() -> Iterator[None]:
    try:
        yield
    except service.InvalidWebhookError as refusal:
        raise InvalidInputError({refusal.field: [str(refusal)]}) from refusal


class WebhookDisabled(APIException):
    status_code = 409
    default_detail = "This webhook is disabled; PATCH enabled to true first."


@extend_schema_view(
    list=extend_schema(summary="Webhooks, the newest first"),
    retrieve=extend_schema(summary="One webhook"),
    destroy=extend_schema(summary="Forget a webhook and its deliveries"),
)
class WebhookViewSet(ListModelMixin, RetrieveModelMixin, DestroyModelMixin, UserViewSet[Webhook]):
    """One's own webhooks, and for staff everyone's."""

    serializer_class = WebhookSerializer
    pagination_class = pagination.NewestFirst
    queryset = Webhook.objects.none()

    def get_queryset(self) -> QuerySet[Webhook]:
        return visible_to(Webhook.objects.select_related("owner"), self._user)

    @extend_schema(
        summary="Make a webhook",
        description="What it gets is signed as in https://www.standardwebhooks.com; the answer "
        "shows the secret once.",
        request=CreateWebhook,
        parameters=[PARAMETER],
        responses={201: NewWebhookSerializer, **REFUSAL_RESPONSES},
    )
    def create(self, request: Request) -> Response:
        def prepare() -> CreateWebhook:
            wanted = validate(CreateWebhook, query_params.json_object(request))
            with _invalid_as_field():
                service.check_url(wanted.url)
            return wanted

        def create(wanted: CreateWebhook) -> Response:
            with _invalid_as_field():
                webhook = service.create_webhook(self._user, wanted)
            return Response(NewWebhookSerializer(webhook).data, status=status.HTTP_201_CREATED)

        # The answer that is kept for a day holds the secret, as the webhook itself does beside it.
        return create_once(request, prepare, create)

    @extend_schema(
        summary="Change or enable it",
        request=WebhookPatch,
        responses={200: WebhookSerializer, 400: ProblemSerializer},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        webhook = self.get_object()
        with _invalid_as_field():
            service.update_webhook(
                webhook, validate(WebhookPatch, query_params.json_object(request))
            )
        webhook.refresh_from_db()
        return Response(WebhookSerializer(webhook).data)

    def perform_destroy(self, instance: Webhook) -> None:
        service.delete_webhook(instance)

    @extend_schema(
        summary="A new secret; for a day the old one signs beside it",
        request=None,
        responses={200: NewWebhookSerializer, 404: ProblemSerializer},
    )
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        webhook = self.get_object()
        service.rotate_secret(webhook)
        webhook.refresh_from_db()
        return Response(NewWebhookSerializer(webhook).data)

    @extend_schema(
        summary="Send `webhook.test`",
        request=None,
        responses={202: DeliverySerializer, 404: ProblemSerializer, 409: ProblemSerializer},
    )
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        webhook = self._enabled()
        return Response(DeliverySerializer(outbox.send_test(webhook)).data, status=202)

    @extend_schema(summary="What it was told, the newest first",
                   responses={200: DeliverySerializer(many=True)})  # fmt: skip
    @action(detail=True, pagination_class=pagination.NewestFirst)
    def deliveries(self, request: Request, pk: str) -> Response:
        pager = pagination.NewestFirst()
        page = pager.paginate_queryset(self.get_object().deliveries.all(), request, self)
        return pager.get_paginated_response(DeliverySerializer(page, many=True).data)

    @extend_schema(
        operation_id="training_webhooks_delivery_resend",
        summary="Send it once more, under the same webhook-id",
        request=None,
        responses={202: DeliverySerializer, 404: ProblemSerializer, 409: ProblemSerializer},
    )
    @action(
        detail=True, methods=["post"], url_path=r"deliveries/(?P<delivery_id>[0-9a-f-]+)/resend"
    )
    def resend(self, request: Request, pk: str, delivery_id: str) -> Response:
        webhook = self._enabled()
        try:
            delivery = webhook.deliveries.get(pk=UUID(delivery_id))
        except (ValueError, Delivery.DoesNotExist):
            raise NotFound(f"This webhook has no delivery {delivery_id}.") from None
        outbox.redeliver(delivery)
        delivery.refresh_from_db()
        return Response(DeliverySerializer(delivery).data, status=202)

    def _enabled(self) -> Webhook:
        webhook = self.get_object()
        if not webhook.enabled:
            raise WebhookDisabled
        return webhook
