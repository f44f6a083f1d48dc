"""Datasets over HTTP: list, make, import, forget."""

from __future__ import annotations

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.filters import SearchFilter
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import get_team, require_owner, visible_to
from training.api import etags, pagination
from training.api.idempotency import PARAMETER, REFUSAL_RESPONSES, create_once
from training.api.query_params import json_object
from training.api.schemas import CreateDataset, DatasetPatch
from training.api.serializers.jobs import (
    DatasetSerializer,
    JobSerializer,
    ProblemSerializer,
    UploadSerializer,
)
from training.api.views.base import ETagViewSet
from training.datasets import service as datasets
from training.jobs import lifecycle
from training.localization.config import ImportConfig
from training.localization.data.dataset import Dataset as Arrays
from training.models import Dataset
from training.validation import validate


@extend_schema_view(
    list=extend_schema(summary="Datasets, the newest first"),
    retrieve=extend_schema(summary="One dataset's facts"),
)
class DatasetViewSet(ETagViewSet[Dataset]):
    """One's own datasets, and for staff everyone's."""

    serializer_class = DatasetSerializer
    pagination_class = pagination.NewestFirst
    filter_backends = (SearchFilter,)
    search_fields = ("name",)
    queryset = Dataset.objects.none()

    def get_queryset(self) -> QuerySet[Dataset]:
        return visible_to(Dataset.objects.select_related("owner", "team"), self._user)

    def tag_of(self, row: Dataset) -> str:
        return etags.dataset_etag(row)

    @extend_schema(
        summary="Forget a dataset that no job names",
        parameters=[etags.IF_MATCH],
        responses={
            204: None,
            403: ProblemSerializer,
            409: ProblemSerializer,
            412: ProblemSerializer,
        },
    )
    def destroy(self, request: Request, pk: str) -> Response:
        datasets.delete_dataset(self._own())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="Share a dataset",
        parameters=[etags.IF_MATCH],
        request=DatasetPatch,
        responses={
            200: DatasetSerializer,
            400: ProblemSerializer,
            403: ProblemSerializer,
            412: ProblemSerializer,
        },
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        patch, dataset = validate(DatasetPatch, json_object(request)), self._own()
        datasets.share_dataset(dataset, get_team(self._user, patch.team))
        return Response(DatasetSerializer(dataset).data)

    def _own(self) -> Dataset:
        """The dataset, for its owner; 412 where the client names a state that it no longer has."""
        dataset = self.get_object()
        require_owner(dataset, self._user)
        etags.require_match(self.request, self.tag_of(dataset))
        return dataset

    @extend_schema(
        summary="Make a synthetic dataset",
        request=CreateDataset,
        parameters=[PARAMETER],
        responses={202: JobSerializer, **REFUSAL_RESPONSES},
    )
    @action(detail=False, methods=["post"])
    def generate(self, request: Request) -> Response:
        def create(wanted: CreateDataset) -> Response:
            job = lifecycle.submit_generation(self._user, wanted.name, wanted.config())
            return Response(JobSerializer(job).data, status=status.HTTP_202_ACCEPTED)

        return create_once(request, lambda: validate(CreateDataset, json_object(request)), create)

    @extend_schema(
        summary="Import measured data",
        request={"multipart/form-data": UploadSerializer},
        parameters=[PARAMETER],
        responses={201: DatasetSerializer, 413: ProblemSerializer, **REFUSAL_RESPONSES},
    )
    @action(detail=False, methods=["post"], url_path="import", parser_classes=[MultiPartParser])
    def import_zip(self, request: Request) -> Response:
        def prepare() -> tuple[str, UploadedFile[Any], Arrays]:
            upload = UploadSerializer(data=request.data)
            upload.is_valid(raise_exception=True)
            sent = dict(upload.validated_data)
            name, file = sent.pop("name"), sent.pop("file")
            return name, file, datasets.read_upload(file, validate(ImportConfig, sent))

        def create(wanted: tuple[str, UploadedFile[Any], Arrays]) -> Response:
            dataset = datasets.store_upload(self._user, *wanted)
            return Response(DatasetSerializer(dataset).data, status=status.HTTP_201_CREATED)

        return create_once(request, prepare, create)
