"""Endpoints of datasets."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from pydantic import BaseModel
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts import idempotency
from training.accounts.permissions import get_team, require_owner, visible_to
from training.api import etags, pagination
from training.api.filters import BoundedSearchFilter
from training.api.idempotency import ERROR_RESPONSES, PARAMETER, create_once
from training.api.query_params import DRY_RUN_PARAMETER, boolean, json_object
from training.api.schemas import CreateDataset, DatasetPatch, DatasetRequest
from training.api.serializers.datasets import DatasetSerializer, UploadSerializer
from training.api.serializers.jobs import JobSerializer
from training.api.serializers.problems import ProblemSerializer
from training.api.views.base import ETagViewSet
from training.datasets import service as datasets
from training.jobs import lifecycle
from training.models import Dataset
from training.programs.datasets import ImportPreview, ReadDataset
from training.validation import InvalidInputError, validate


@extend_schema_view(
    list=extend_schema(
        summary="List datasets",
        description="Datasets you own or that are shared with your teams (staff: all datasets), "
        "newest first.",
    ),
    retrieve=extend_schema(
        summary="Get a dataset", description="The dataset's metadata, receivers and split sizes."
    ),
)
class DatasetViewSet(ETagViewSet[Dataset]):
    serializer_class = DatasetSerializer
    pagination_class = pagination.NewestFirstPagination
    filter_backends = (BoundedSearchFilter,)
    search_fields = ("name",)
    queryset = Dataset.objects.none()

    def get_queryset(self) -> QuerySet[Dataset]:
        return visible_to(Dataset.objects.select_related("owner", "team"), self._user)

    def etag_of(self, row: Dataset) -> str:
        return etags.dataset_etag(row)

    @extend_schema(
        summary="Delete a dataset",
        description="Deletes the dataset and its file. Only its owner and staff can do this, and "
        "only if no job or sweep uses it.",
        parameters=[etags.IF_MATCH],
        responses={
            204: None,
            403: ProblemSerializer,
            409: ProblemSerializer,
            412: ProblemSerializer,
        },
    )
    def destroy(self, request: Request, pk: str) -> Response:
        datasets.delete_dataset(self._owned_dataset())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="Share a dataset",
        description="Shares the dataset with a team, or with `team: null` stops sharing it. Only "
        "its owner and staff can do this.",
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
        patch, dataset = validate(DatasetPatch, json_object(request)), self._owned_dataset()
        datasets.share_dataset(dataset, get_team(self._user, patch.team))
        return Response(DatasetSerializer(dataset).data)

    def _owned_dataset(self) -> Dataset:
        """The dataset if the user owns it; PreconditionFailed if `If-Match` does not match."""
        dataset = self.get_object()
        require_owner(dataset, self._user)
        etags.require_match(self.request, self.etag_of(dataset))
        return dataset

    @extend_schema(
        summary="Generate a synthetic dataset",
        description="Queues a job of kind `generation` and returns it; its `dataset_id` is the new "
        "dataset.",
        request=CreateDataset,
        parameters=[PARAMETER],
        responses={202: JobSerializer, **ERROR_RESPONSES},
    )
    @action(detail=False, methods=["post"])
    def generate(self, request: Request) -> Response:
        def create(data: DatasetRequest) -> Response:
            job = lifecycle.submit_generation(self._user, data.name, data.options())
            return Response(JobSerializer(job).data, status=status.HTTP_202_ACCEPTED)

        return create_once(request, lambda: validate(CreateDataset, json_object(request)), create)

    @extend_schema(
        summary="Import a dataset",
        description="Imports measured data from a zip of `receivers.csv`, `samples.csv` and "
        "`measurements.csv`, or from a single table (CSV with any separator, XLSX, XLS, ODS) with "
        "a `mapping` of its columns. If any row is invalid, nothing is imported, and the error "
        "names file and line. With `dry_run=1` nothing is stored: the response has every error, "
        "the columns, and for a single table a guessed `mapping`.",
        request={"multipart/form-data": UploadSerializer},
        parameters=[PARAMETER, DRY_RUN_PARAMETER],
        responses={
            200: ImportPreview,
            201: DatasetSerializer,
            413: ProblemSerializer,
            **ERROR_RESPONSES,
        },
    )
    @action(detail=False, methods=["post"], url_path="import", parser_classes=[MultiPartParser])
    def import_upload(self, request: Request) -> Response:
        if boolean(request, "dry_run"):
            _, file, options = self._read_form(request)
            preview = datasets.preview_upload(self._user, file, options)
            return Response(preview.model_dump(mode="json"))
        # The imported data is in files until its rows are committed or the import is abandoned.
        files = ExitStack()

        def prepare() -> tuple[str, UploadedFile[Any], ReadDataset]:
            name, file, options = self._read_form(request)
            if not name:
                raise InvalidInputError({"name": ["This field is required."]})
            reading = datasets.read_upload(self._user, file, options)
            return name, file, files.enter_context(reading)

        def create(prepared: tuple[str, UploadedFile[Any], ReadDataset]) -> Response:
            dataset = datasets.store_upload(self._user, *prepared)
            return Response(DatasetSerializer(dataset).data, status=status.HTTP_201_CREATED)

        with files:
            return create_once(request, prepare, create, idempotency.IMPORT_ORPHANED_AFTER)

    def _read_form(self, request: Request) -> tuple[str, UploadedFile[Any], BaseModel]:
        upload = UploadSerializer(data=request.data)
        if unknown := set(request.data) - set(upload.fields):
            known = ", ".join(upload.fields)
            sentence = f"Unknown field; the fields of an import are {known}."
            raise InvalidInputError({name: [sentence] for name in sorted(unknown)})
        upload.is_valid(raise_exception=True)
        options = dict(upload.validated_data)
        name, file = options.pop("name"), options.pop("file")
        return name, file, datasets.import_options(options)
