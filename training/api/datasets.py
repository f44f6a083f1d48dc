"""Datasets over HTTP: list, make, import, forget."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.filters import SearchFilter
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from training import datasets, lifecycle
from training.access import must_own, share, visible
from training.api import conditional, pages
from training.api.once import PARAMETER, REFUSALS, once
from training.api.queries import json_object
from training.api.requests import CreateDataset, DatasetPatch
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
class DatasetViewSet(GenericViewSet[Dataset]):
    """One's own datasets, and for staff everyone's."""

    serializer_class = DatasetSerializer
    pagination_class = pages.Newest
    filter_backends = (SearchFilter,)
    search_fields = ("name",)
    queryset = Dataset.objects.none()

    def get_queryset(self) -> QuerySet[Dataset]:
        return visible(Dataset.objects.select_related("owner", "team"), self._user)

    @property
    def _user(self) -> User:
        return cast(User, self.request.user)

    def list(self, request: Request) -> Response:
        pager = self.pagination_class()
        rows = pager.paginate_queryset(self.filter_queryset(self.get_queryset()), request, self)
        return conditional.page(
            request,
            rows or [],
            conditional.of_dataset,
            lambda: pager.get_paginated_response(DatasetSerializer(rows, many=True).data).data,
        )

    def retrieve(self, request: Request, pk: str) -> Response:
        dataset = self.get_object()
        etag = conditional.of_dataset(dataset)
        return conditional.answer(request, etag, lambda: DatasetSerializer(dataset).data)

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
        dataset = self.get_object()
        must_own(dataset, self._user)
        conditional.must_match(request, conditional.of_dataset(dataset))
        datasets.delete(dataset)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="Share a dataset",
        request=DatasetPatch,
        responses={200: DatasetSerializer, 400: ProblemSerializer, 403: ProblemSerializer},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        dataset = self.get_object()
        share(dataset, self._user, read(DatasetPatch, json_object(request)).team)
        return Response(DatasetSerializer(dataset).data)

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
