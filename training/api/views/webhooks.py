"""Endpoints of webhooks and their deliveries."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound
from rest_framework.mixins import DestroyModelMixin, ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import visible_to
from training.accounts.tokens import TokenCredential
from training.api import pagination, query_params
from training.api.idempotency import ERROR_RESPONSES, PARAMETER, create_once
from training.api.serializers.problems import ProblemSerializer
from training.api.serializers.webhooks import (
    DeliverySerializer,
    NewWebhookSerializer,
    WebhookSerializer,
)
from training.api.views.base import UserViewSet
from training.models.webhooks import Delivery, Webhook
from training.validation import validate
from training.webhooks import outbox, service
from training.webhooks.service import CreateWebhook, WebhookPatch


class WebhookDisabledError(APIException):
    status_code = 409
    default_detail = "This webhook is disabled; PATCH `enabled` to true first."


@extend_schema_view(
    list=extend_schema(
        summary="List webhooks", description="Your webhooks (staff: all webhooks), newest first."
    ),
    retrieve=extend_schema(summary="Get a webhook", description="The webhook without its secret."),
    destroy=extend_schema(
        summary="Delete a webhook", description="Deletes the webhook and its deliveries."
    ),
)
class WebhookViewSet(ListModelMixin, RetrieveModelMixin, DestroyModelMixin, UserViewSet[Webhook]):
    serializer_class = WebhookSerializer
    pagination_class = pagination.NewestFirstPagination
    queryset = Webhook.objects.none()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        # A webhook of staff receives the events of all users.
        credential = request.auth
        is_change = request.method not in SAFE_METHODS
        if is_change and isinstance(credential, TokenCredential) and credential.withheld_staff:
            credential.require("admin")

    def get_queryset(self) -> QuerySet[Webhook]:
        return visible_to(Webhook.objects.select_related("owner"), self._user)

    @extend_schema(
        summary="Create a webhook",
        description="Requests are signed as in https://www.standardwebhooks.com. The secret is "
        "only in this response.",
        request=CreateWebhook,
        parameters=[PARAMETER],
        responses={201: NewWebhookSerializer, **ERROR_RESPONSES},
    )
    def create(self, request: Request) -> Response:
        def prepare() -> CreateWebhook:
            data = validate(CreateWebhook, query_params.json_object(request))
            service.check_url(data.url)
            return data

        def create(data: CreateWebhook) -> Response:
            webhook = service.create_webhook(self._user, data)
            return Response(NewWebhookSerializer(webhook).data, status=status.HTTP_201_CREATED)

        # The response stored for a day contains the secret, and so does the webhook's row.
        return create_once(request, prepare, create)

    @extend_schema(
        summary="Update a webhook",
        description="Changes URL, events or description, disables or enables it. Enabling resets "
        "its failure count.",
        request=WebhookPatch,
        responses={200: WebhookSerializer, 400: ProblemSerializer},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        webhook = self.get_object()
        service.update_webhook(webhook, validate(WebhookPatch, query_params.json_object(request)))
        webhook.refresh_from_db()
        return Response(WebhookSerializer(webhook).data)

    def perform_destroy(self, instance: Webhook) -> None:
        service.delete_webhook(instance)

    @extend_schema(
        summary="Rotate the secret",
        description="Returns a new secret. For a day requests are signed with both.",
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
        summary="Send a test event",
        description="Queues an event `webhook.test`.",
        request=None,
        responses={202: DeliverySerializer, 404: ProblemSerializer, 409: ProblemSerializer},
    )
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        webhook = self._enabled_webhook()
        return Response(DeliverySerializer(outbox.send_test(webhook)).data, status=202)

    @extend_schema(summary="List deliveries",
                   description="Deliveries of the last 30 days, newest first.",
                   responses={200: DeliverySerializer(many=True)})  # fmt: skip
    @action(detail=True, pagination_class=pagination.NewestFirstPagination)
    def deliveries(self, request: Request, pk: str) -> Response:
        paginator = pagination.NewestFirstPagination()
        page = paginator.paginate_queryset(self.get_object().deliveries.all(), request, self)
        return paginator.get_paginated_response(DeliverySerializer(page, many=True).data)

    @extend_schema(
        operation_id="training_webhooks_delivery_resend",
        summary="Resend a delivery",
        description="Queues the delivery again under the same `webhook-id`.",
        request=None,
        responses={202: DeliverySerializer, 404: ProblemSerializer, 409: ProblemSerializer},
    )
    @action(
        detail=True, methods=["post"], url_path=r"deliveries/(?P<delivery_id>[0-9a-f-]+)/resend"
    )
    def resend(self, request: Request, pk: str, delivery_id: str) -> Response:
        webhook = self._enabled_webhook()
        try:
            delivery = webhook.deliveries.get(pk=UUID(delivery_id))
        except (ValueError, Delivery.DoesNotExist):
            raise NotFound(f"This webhook has no delivery {delivery_id}.") from None
        outbox.redeliver(delivery)
        delivery.refresh_from_db()
        return Response(DeliverySerializer(delivery).data, status=202)

    def _enabled_webhook(self) -> Webhook:
        webhook = self.get_object()
        if not webhook.enabled:
            raise WebhookDisabledError
        return webhook
