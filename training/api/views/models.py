"""Endpoints of trained models."""

from __future__ import annotations

import json
from typing import ClassVar

from django.db.models import QuerySet
from django.http.response import HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from pydantic import JsonValue
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import visible_to
from training.api import etags, pagination
from training.api.exports import positions
from training.api.held_places import count_download
from training.api.parsers import ExactJSONParser
from training.api.predictions import model_file, predict
from training.api.query_params import json_object
from training.api.renderers import POSITION_RENDERERS, NamedFormatNegotiation
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
    object_name = "Model"
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
        "ellipses. `Accept` or `format` chooses a file instead of JSON: `csv`, `geojson` "
        "(RFC 7946: a point and the polygons of both ellipses for each sample), `gpx` (1.1, "
        "waypoints) or `kml` (2.2, with the ellipses).",
        request=Predict,
        responses={
            (200, "application/json"): PredictionsSerializer,
            **{(200, found.media_type): OpenApiTypes.STR for found in positions.FORMATS.values()},
            400: ProblemSerializer,
            503: ProblemSerializer,
        },
    )
    @action(
        detail=True,
        methods=["post"],
        parser_classes=[ExactJSONParser],
        renderer_classes=POSITION_RENDERERS,
        content_negotiation_class=NamedFormatNegotiation,
    )
    def predict(self, request: Request, pk: str) -> HttpResponseBase:
        found = predict(self._user, self.get_object(), json_object(request))
        chosen = request.accepted_renderer.format
        if chosen in positions.FORMATS:
            response = positions.positions_response(request._request, chosen, found)  # noqa: SLF001
            return count_download(self._user, response)
        content = b"".join((b'{"predictions":', *found.as_json(), b"}"))
        return HttpResponse(content, content_type="application/json")
