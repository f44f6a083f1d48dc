"""Endpoints of trained models."""

from __future__ import annotations

import json
from typing import ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from pydantic import JsonValue
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import visible_to
from training.api import etags, pagination
from training.api.parsers import ExactJSONParser
from training.api.predictions import model_file, predict
from training.api.query_params import json_object
from training.api.schemas import Predict
from training.api.serializers.models import (
    ModelCardSerializer,
    ModelSerializer,
    PredictionsSerializer,
)
from training.api.serializers.problems import ProblemSerializer
from training.api.views.base import ETagViewSet
from training.models import TrainedModel


@extend_schema_view(
    list=extend_schema(
        summary="List models",
        description="Models of jobs you own or that are shared with your teams (staff: all "
        "models), newest first.",
    )
)
class ModelViewSet(ETagViewSet[TrainedModel]):
    serializer_class = ModelSerializer
    pagination_class = pagination.NewestFirstPagination
    scopes: ClassVar = {"predict": "read"}
    queryset = TrainedModel.objects.none()

    def get_queryset(self) -> QuerySet[TrainedModel]:
        models = TrainedModel.objects.select_related("job__dataset", "job__owner")
        return visible_to(models, self._user, owner="job__owner")

    def etag_of(self, row: TrainedModel) -> str:
        return etags.model_etag(row)

    @extend_schema(
        summary="Get a model",
        description="The model with its model card.",
        responses={200: ModelCardSerializer},
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        model = self.get_object()

        def model_with_card() -> dict[str, JsonValue]:
            path = model_file(model).with_name("card.json")
            card = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
            return {**ModelSerializer(model).data, "card": card}

        return etags.conditional_response(request, self.etag_of(model), model_with_card)

    @extend_schema(
        summary="Predict positions",
        description="Estimates the positions of transmitters from measurements, with uncertainty "
        "ellipses.",
        request=Predict,
        responses={200: PredictionsSerializer, 400: ProblemSerializer, 503: ProblemSerializer},
    )
    @action(detail=True, methods=["post"], parser_classes=[ExactJSONParser])
    def predict(self, request: Request, pk: str) -> Response:
        predictions = predict(self._user, self.get_object(), json_object(request))
        return Response({"predictions": predictions})
