"""Endpoints of sweeps."""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import get_team, require_owner, visible_to
from training.api import pagination, query_params
from training.api.filters import BoundedSearchFilter, StrictFilterBackend
from training.api.idempotency import ERROR_RESPONSES, PARAMETER, create_once
from training.api.serializers.problems import ProblemSerializer
from training.api.serializers.sweeps import SweepDetailSerializer, SweepSerializer
from training.api.views.base import UserViewSet
from training.models import Dataset, Sweep
from training.sweeps import lifecycle, scheduler, trials
from training.sweeps.spec import SweepPatch, SweepSpec, validate_spec
from training.validation import InvalidInputError, validate


class SweepFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(choices=Sweep.State.choices)
    dataset_id = filters.UUIDFilter(field_name="dataset_id")


ACTION_RESPONSES = {202: SweepDetailSerializer, 404: ProblemSerializer, 409: ProblemSerializer}


@extend_schema_view(
    list=extend_schema(
        summary="List sweeps",
        description="Sweeps you own or that are shared with your teams (staff: all sweeps), newest "
        "first.",
    )
)
class SweepViewSet(ListModelMixin, RetrieveModelMixin, UserViewSet[Sweep]):
    serializer_class = SweepSerializer
    pagination_class = pagination.NewestFirstPagination
    filter_backends = (StrictFilterBackend, BoundedSearchFilter)
    filterset_class = SweepFilter
    search_fields = ("name",)
    queryset = Sweep.objects.none()

    def get_queryset(self) -> QuerySet[Sweep]:
        return visible_to(Sweep.objects.select_related("owner", "dataset", "team"), self._user)

    @extend_schema(
        summary="Start a sweep",
        description="Its trials are ordinary jobs with its id in `sweep_id`. In `space` each field "
        'has `{"values": [...]}`, or `{"min", "max"}` with optional `"log": true` or `"step"`.',
        request=SweepSpec,
        parameters=[PARAMETER],
        responses={201: SweepDetailSerializer, **ERROR_RESPONSES},
    )
    def create(self, request: Request) -> Response:
        def prepare() -> tuple[Dataset | None, SweepSpec]:
            spec = validate_spec(query_params.json_object(request))
            if spec.dataset_id is None:
                return None, spec
            return query_params.usable_dataset(self._user, str(spec.dataset_id)), spec

        def create(prepared: tuple[Dataset | None, SweepSpec]) -> Response:
            sweep = lifecycle.create(self._user, *prepared)
            scheduler.advance_sweep(sweep.pk)
            return self._sweep_response(sweep, status.HTTP_201_CREATED)

        return create_once(request, prepare, create)

    @extend_schema(
        summary="Get a sweep",
        description="The sweep with its trials and the best of them.",
        responses={200: SweepDetailSerializer},
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        return self._sweep_response(self.get_object(), status.HTTP_200_OK)

    @extend_schema(
        summary="Update a sweep",
        description="Changes the name, the number of parallel trials, or the team. Only the owner "
        "and staff can change the team; it applies to the trials too.",
        request=SweepPatch,
        responses={200: SweepDetailSerializer, 400: ProblemSerializer},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        sweep, data = self.get_object(), query_params.json_object(request)
        patch = validate(SweepPatch, {"name": sweep.name, **data}).model_dump(exclude_unset=True)
        with transaction.atomic():
            if "team" in patch:
                require_owner(sweep, self._user)
                lifecycle.share(sweep, get_team(self._user, patch.pop("team")))
            if patch:
                lifecycle.update_metadata(sweep, **patch)
        return self._sweep_response(sweep, status.HTTP_200_OK)

    @extend_schema(
        summary="Delete a sweep",
        description="Deletes a sweep that is not running. Its jobs are kept by default. Only its "
        "owner and staff can do this.",
        parameters=[
            OpenApiParameter(
                "jobs", OpenApiTypes.STR, enum=["keep", "delete"],
                description="Whether to keep or delete its jobs; default: keep.",
            )
        ],
        responses={204: None, 400: ProblemSerializer, 409: ProblemSerializer},
    )  # fmt: skip
    def destroy(self, request: Request, pk: str) -> Response:
        jobs = request.query_params.get("jobs", "keep")
        if jobs not in ("keep", "delete"):
            raise InvalidInputError({"jobs": [f"{jobs!r} is not one of 'keep' or 'delete'."]})
        sweep = self.get_object()
        require_owner(sweep, self._user)
        lifecycle.delete(sweep, with_jobs=jobs == "delete")
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(summary="Pause a sweep",
                   description="Starts no new trials and pauses the running ones.", request=None,
                   responses=ACTION_RESPONSES)  # fmt: skip
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        query_params.refuse_body(request)
        return self._sweep_response(lifecycle.pause(self.get_object(), self._user.username))

    @extend_schema(
        summary="Resume a sweep",
        description="Resumes its paused trials and starts new ones.",
        request=None,
        responses=ACTION_RESPONSES,
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        query_params.refuse_body(request)
        sweep = lifecycle.resume(self.get_object(), self._user.username)
        scheduler.advance_sweep(sweep.pk)
        return self._sweep_response(sweep)

    @extend_schema(
        summary="Cancel a sweep",
        description="Stops the sweep and its running trials permanently.",
        request=None,
        responses=ACTION_RESPONSES,
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        query_params.refuse_body(request)
        return self._sweep_response(lifecycle.cancel(self.get_object(), self._user.username))

    def _sweep_response(self, sweep: Sweep, code: int = status.HTTP_202_ACCEPTED) -> Response:
        current = get_object_or_404(self.get_queryset(), pk=sweep.pk)
        current_trials = trials.list_trials(current)
        body = {
            **SweepSerializer(current).data,
            "best": trials.best_trial(current_trials),
            "counts": trials.count_trials(current_trials),
            "trials": [trial.as_json() for trial in current_trials],
        }
        return Response(body, status=code)
