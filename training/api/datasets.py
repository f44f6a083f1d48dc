"""Datasets over HTTP: list, make, import, forget."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.filters import SearchFilter
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from training import datasets, lifecycle
from training.access import must_own, share, visible
from training.api import pages
from training.api.queries import json_object
from training.api.requests import CreateDataset, DatasetPatch
from training.configs import read
from training.engine.config import ImportConfig
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
class DatasetViewSet(ListModelMixin, RetrieveModelMixin, GenericViewSet[Dataset]):
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

    @extend_schema(
        summary="Forget a dataset that no job names",
        responses={204: None, 403: ProblemSerializer, 409: ProblemSerializer},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        dataset = self.get_object()
        must_own(dataset, self._user)
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
        responses={202: JobSerializer, 400: ProblemSerializer},
    )
    @action(detail=False, methods=["post"])
    def generate(self, request: Request) -> Response:
        wanted = read(CreateDataset, json_object(request))
        job = lifecycle.submit_generation(self._user, wanted.name, wanted.config())
        return Response(JobSerializer(job).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        summary="Import measured data",
        request={"multipart/form-data": UploadSerializer},
        responses={201: DatasetSerializer, 400: ProblemSerializer, 413: ProblemSerializer},
    )
    @action(detail=False, methods=["post"], url_path="import", parser_classes=[MultiPartParser])
    def import_zip(self, request: Request) -> Response:
        upload = UploadSerializer(data=request.data)
        upload.is_valid(raise_exception=True)
        sent = dict(upload.validated_data)
        name, file = sent.pop("name"), sent.pop("file")
        config = read(ImportConfig, sent)
        dataset = datasets.import_upload(self._user, name, file, config)
        return Response(DatasetSerializer(dataset).data, status=status.HTTP_201_CREATED)
