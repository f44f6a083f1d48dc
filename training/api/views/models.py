"""Trained models over HTTP: look, and ask where a transmitter stands."""

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
from training.api.serializers.jobs import ProblemSerializer
from training.api.serializers.models import (
    ModelCardSerializer,
    ModelSerializer,
    PredictionsSerializer,
)
from training.api.views.base import ETagViewSet
from training.inference.client import InferenceError, inference_client
from training.localization.checkpoints.files import MODEL
from training.models import TrainedModel
from training.validation import InvalidInputError, validate


@extend_schema_view(list=extend_schema(summary="Trained models, the newest first"))
class ModelViewSet(ETagViewSet[TrainedModel]):
    """What one's own jobs have learnt, and for staff everyone's."""

    serializer_class = ModelSerializer
    pagination_class = pagination.NewestFirst
    queryset = TrainedModel.objects.none()

    def get_queryset(self) -> QuerySet[TrainedModel]:
        found = TrainedModel.objects.select_related("job__dataset", "job__owner")
        return visible_to(found, self._user, owner="job__owner")

    def tag_of(self, row: TrainedModel) -> str:
        return etags.model_etag(row)

    @extend_schema(summary="One model and its card", responses={200: ModelCardSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        model = self.get_object()

        def told() -> dict[str, Any]:
            card = _file(model).with_name("card.json")
            written = json.loads(card.read_text(encoding="utf-8")) if card.exists() else None
            return {**ModelSerializer(model).data, "card": written}

        return etags.conditional_response(request, self.tag_of(model), told)

    @extend_schema(
        summary="Where the transmitters stand, and how surely",
        request=Predict,
        responses={200: PredictionsSerializer, 400: ProblemSerializer, 503: ProblemSerializer},
    )
    @action(detail=True, methods=["post"], parser_classes=[JSONParser])
    def predict(self, request: Request, pk: str) -> Response:
        file = _file(self.get_object())
        asked = validate(Predict, json_object(request)).model_dump(exclude_none=True)
        if not file.exists():
            raise NotFound("This model's file is gone, or it was trained by an older version.")
        try:
            found = inference_client().ask({"do": "locate", "model": str(file), **asked})
        except InferenceError as error:
            raise InvalidInputError({error.field or "": [str(error)]}) from error
        return Response({"predictions": found})


def _file(model: TrainedModel) -> Path:
    return Path(model.checkpoint_path).with_name(MODEL)
