"""Endpoints of trained models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import visible_to
from training.api import etags, pagination
from training.api.query_params import json_object
from training.api.schemas import Predict
from training.api.serializers.models import (
    ModelCardSerializer,
    ModelSerializer,
    PredictionsSerializer,
)
from training.api.serializers.problems import ProblemSerializer
from training.api.views.base import ETagViewSet
from training.inference.client import InferenceError, inference_client
from training.models import TrainedModel
from training.programs.checkpoint_files import MODEL
from training.programs.messages import PredictRequest
from training.validation import InvalidInputError, validate


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

        def model_with_card() -> dict[str, Any]:
            path = _model_file(model).with_name("card.json")
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
    @action(detail=True, methods=["post"], parser_classes=[JSONParser])
    def predict(self, request: Request, pk: str) -> Response:
        file = _model_file(self.get_object())
        data = validate(Predict, json_object(request)).model_dump(exclude_none=True)
        if not file.exists():
            raise NotFound(
                "This model's file is missing: it was deleted, or made by an older version."
            )
        try:
            predictions = inference_client().request(PredictRequest(model=str(file), **data))
        except InferenceError as error:
            raise InvalidInputError({error.field or "": [str(error)]}) from error
        return Response({"predictions": predictions})


def _model_file(model: TrainedModel) -> Path:
    return Path(model.checkpoint_path).with_name(MODEL)
