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

from training import datasets, lifecycle
from training.access import must_own, team_of, visible
from training.api import conditional, pages
from training.api.once import PARAMETER, REFUSALS, once
from training.api.queries import json_object
from training.api.requests import CreateDataset, DatasetPatch
from training.api.views import Tagged
from training.configs import read
from training.engine.config import ImportConfig
from training.engine.dataset import Dataset as Arrays
from training.models import Dataset
from training.serializers import (
    DatasetSerializer,
    JobSerializer,
    ProblemSerializer,
    UploadSerializer,
)


@extend_schema_view(
    list=extend_schema(summary="Datasets, the newest first"),
    retrieve=extend_schema(summary="One dataset's facts"),
)
class DatasetViewSet(Tagged[Dataset]):
    """One's own datasets, and for staff everyone's."""

    serializer_class = DatasetSerializer
    pagination_class = pages.Newest
    filter_backends = (SearchFilter,)
    search_fields = ("name",)
    queryset = Dataset.objects.none()

    def get_queryset(self) -> QuerySet[Dataset]:
        return visible(Dataset.objects.select_related("owner", "team"), self._user)

    def tag_of(self, row: Dataset) -> str:
        return conditional.of_dataset(row)

    @extend_schema(
        summary="Forget a dataset that no job names",
        parameters=[conditional.IF_MATCH],
        responses={
            204: None,
            403: ProblemSerializer,
            409: ProblemSerializer,
            412: ProblemSerializer,
        },
    )
    def destroy(self, request: Request, pk: str) -> Response:
        datasets.delete(self._own())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="Share a dataset",
        parameters=[conditional.IF_MATCH],
        request=DatasetPatch,
        responses={
            200: DatasetSerializer,
            400: ProblemSerializer,
            403: ProblemSerializer,
            412: ProblemSerializer,
        },
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        patch, dataset = read(DatasetPatch, json_object(request)), self._own()
        datasets.share(dataset, team_of(self._user, patch.team))
        return Response(DatasetSerializer(dataset).data)

    def _own(self) -> Dataset:
        """The dataset, for its owner; 412 where the client names a state that it no longer has."""
        dataset = self.get_object()
        must_own(dataset, self._user)
        conditional.must_match(self.request, self.tag_of(dataset))
        return dataset

    @extend_schema(
        summary="Make a synthetic dataset",
        request=CreateDataset,
        parameters=[PARAMETER],
        responses={202: JobSerializer, **REFUSALS},
    )
    @action(detail=False, methods=["post"])
    def generate(self, request: Request) -> Response:
        def create(wanted: CreateDataset) -> Response:
            job = lifecycle.submit_generation(self._user, wanted.name, wanted.config())
            return Response(JobSerializer(job).data, status=status.HTTP_202_ACCEPTED)

        return once(request, lambda: read(CreateDataset, json_object(request)), create)

    @extend_schema(
        summary="Import measured data",
        request={"multipart/form-data": UploadSerializer},
        parameters=[PARAMETER],
        responses={201: DatasetSerializer, 413: ProblemSerializer, **REFUSALS},
    )
    @action(detail=False, methods=["post"], url_path="import", parser_classes=[MultiPartParser])
    def import_zip(self, request: Request) -> Response:
        def prepare() -> tuple[str, UploadedFile[Any], Arrays]:
            upload = UploadSerializer(data=request.data)
            upload.is_valid(raise_exception=True)
            sent = dict(upload.validated_data)
            name, file = sent.pop("name"), sent.pop("file")
            return name, file, datasets.read_upload(file, read(ImportConfig, sent))

        def create(wanted: tuple[str, UploadedFile[Any], Arrays]) -> Response:
            dataset = datasets.store_upload(self._user, *wanted)
            return Response(DatasetSerializer(dataset).data, status=status.HTTP_201_CREATED)

        return once(request, prepare, create)
