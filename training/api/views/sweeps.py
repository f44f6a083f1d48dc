"""Sweeps over HTTP: start, look, steer."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.filters import SearchFilter
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import visible_to
from training.api import pagination, query_params
from training.api.filters import StrictFilterBackend
from training.api.idempotency import PARAMETER, REFUSAL_RESPONSES, create_once
from training.api.serializers import fields as shapes
from training.api.serializers.jobs import ProblemSerializer
from training.api.views.base import UserViewSet
from training.models import Dataset, Sweep
from training.sweeps import lifecycle, scheduler, trials
from training.sweeps.spec import SweepPatch, SweepSpec, validate_spec
from training.validation import InvalidInputError, validate


class SweepSerializer(serializers.ModelSerializer[Sweep]):
    """A sweep as it was asked for, and how far it is."""

    owner = serializers.CharField(source="owner.username", read_only=True)
    dataset_id = serializers.UUIDField(read_only=True)
    config = shapes.JSONObject(read_only=True, help_text="Hyper-parameters that all trials share.")
    space = shapes.JSONObject(read_only=True, help_text="By field: values, or min and max.")
    early_stopping = shapes.JSONObject(read_only=True)

    class Meta:
        model = Sweep
        fields: ClassVar = [
            "id", "name", "owner", "status", "dataset_id", "config", "space", "method", "seed",
            "max_parallel", "objective", "early_stopping", "total_trials", "started_trials",
            "error_message", "created_at", "finished_at",
        ]  # fmt: skip
        read_only_fields = fields


class TrialSerializer(serializers.Serializer[Any]):
    """One training of a sweep; `value` is the objective at its best epoch so far."""

    trial = serializers.IntegerField()
    job_id = serializers.UUIDField()
    status = serializers.CharField()
    parameters = serializers.DictField()
    value = serializers.FloatField(allow_null=True)
    best_epoch = serializers.IntegerField(allow_null=True)
    current_epoch = serializers.IntegerField()
    total_epochs = serializers.IntegerField()
    cancel_reason = serializers.CharField(allow_blank=True)
    is_best = serializers.BooleanField()


class SweepDetailSerializer(SweepSerializer):
    """The same with its trials; `best` is one that completed or still trains."""

    best = TrialSerializer(allow_null=True, read_only=True)
    counts = serializers.DictField(
        child=serializers.IntegerField(), read_only=True, help_text="Trials by status."
    )
    trials = TrialSerializer(many=True, read_only=True)

    class Meta(SweepSerializer.Meta):
        fields: ClassVar = [*SweepSerializer.Meta.fields, "best", "counts", "trials"]


class SweepFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(choices=Sweep.State.choices)
    dataset_id = filters.UUIDFilter(field_name="dataset_id")


ASKED = {202: SweepDetailSerializer, 404: ProblemSerializer, 409: ProblemSerializer}


@extend_schema_view(list=extend_schema(summary="Sweeps, the newest first"))
class SweepViewSet(ListModelMixin, RetrieveModelMixin, UserViewSet[Sweep]):
    """One's own sweeps, and for staff everyone's."""

    serializer_class = SweepSerializer
    pagination_class = pagination.NewestFirst
    filter_backends = (StrictFilterBackend, SearchFilter)
    filterset_class = SweepFilter
    search_fields = ("name",)
    queryset = Sweep.objects.none()

    def get_queryset(self) -> QuerySet[Sweep]:
        return visible_to(Sweep.objects.select_related("owner", "dataset"), self._user)

    @extend_schema(
        summary="Start a sweep",
        description="Its trainings are ordinary jobs that name it in `sweep_id`. In `space` each "
        'field has `{"values": [...]}` or `{"min", "max"}` with `"log": true` or a `"step"`.',
        request=SweepSpec,
        parameters=[PARAMETER],
        responses={201: SweepDetailSerializer, **REFUSAL_RESPONSES},
    )
    def create(self, request: Request) -> Response:
        def prepare() -> tuple[Dataset, SweepSpec]:
            plan = validate_spec(query_params.json_object(request))
            return query_params.usable_dataset(self._user, str(plan.dataset_id)), plan

        def create(prepared: tuple[Dataset, SweepSpec]) -> Response:
            sweep = lifecycle.create(self._user, *prepared)
            scheduler.advance_sweep(sweep.pk)
            return self._sweep(sweep, status.HTTP_201_CREATED)

        return create_once(request, prepare, create)

    @extend_schema(summary="One sweep with its trials", responses={200: SweepDetailSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        return self._sweep(self.get_object(), status.HTTP_200_OK)

    @extend_schema(
        summary="Change its name, or how many train at once",
        request=SweepPatch,
        responses={200: SweepDetailSerializer, 400: ProblemSerializer},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        sweep, sent = self.get_object(), query_params.json_object(request)
        patch = validate(SweepPatch, {"name": sweep.name, **sent}).model_dump(exclude_unset=True)
        changed = lifecycle.update_metadata(sweep, **patch)
        return self._sweep(changed, status.HTTP_200_OK)

    @extend_schema(
        summary="Forget a sweep that does not run",
        parameters=[
            OpenApiParameter(
                "jobs", OpenApiTypes.STR, enum=["keep", "delete"],
                description="what becomes of its trainings; default keep",
            )
        ],
        responses={204: None, 400: ProblemSerializer, 409: ProblemSerializer},
    )  # fmt: skip
    def destroy(self, request: Request, pk: str) -> Response:
        jobs = request.query_params.get("jobs", "keep")
        if jobs not in ("keep", "delete"):
            raise InvalidInputError({"jobs": [f"{jobs!r} is neither 'keep' nor 'delete'."]})
        lifecycle.delete(self.get_object(), with_jobs=jobs == "delete")
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(summary="Start nothing new, and pause what trains", request=None,
                   responses=ASKED)  # fmt: skip
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        return self._sweep(lifecycle.pause(self.get_object(), self._user.username))

    @extend_schema(summary="Go on with it", request=None, responses=ASKED)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        sweep = lifecycle.resume(self.get_object(), self._user.username)
        scheduler.advance_sweep(sweep.pk)
        return self._sweep(sweep)

    @extend_schema(summary="Stop it for good, with what trains", request=None, responses=ASKED)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        return self._sweep(lifecycle.cancel(self.get_object(), self._user.username))

    def _sweep(self, sweep: Sweep, code: int = status.HTTP_202_ACCEPTED) -> Response:
        fresh = get_object_or_404(self.get_queryset(), pk=sweep.pk)
        found = trials.list_trials(fresh)
        told = {
            **SweepSerializer(fresh).data,
            "best": trials.best_trial(found),
            "counts": trials.count_trials(found),
            "trials": [one.as_json() for one in found],
        }
        return Response(told, status=code)
