"""Endpoints of projects."""

from __future__ import annotations

from django.contrib.auth.models import Group
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from training.accounts.permissions import get_team, require_owner, visible_to
from training.api import pagination, query_params
from training.api.filters import BoundedSearchFilter
from training.api.idempotency import ERROR_RESPONSES, PARAMETER, create_once
from training.api.schemas import ProjectPatch, ProjectRequest
from training.api.serializers.problems import ProblemSerializer
from training.api.serializers.projects import ProjectSerializer
from training.api.views.base import UserViewSet
from training.jobs import projects
from training.models import Project
from training.validation import InvalidInputError, validate


@extend_schema_view(
    list=extend_schema(
        summary="List projects",
        description="Projects you own or that are shared with your teams (staff: all), newest "
        "first.",
    ),
    retrieve=extend_schema(summary="Get a project", description="A group of jobs."),
)
class ProjectViewSet(ListModelMixin, RetrieveModelMixin, UserViewSet[Project]):
    serializer_class = ProjectSerializer
    pagination_class = pagination.NewestFirstPagination
    filter_backends = (BoundedSearchFilter,)
    search_fields = ("name", "description")
    queryset = Project.objects.none()

    def get_queryset(self) -> QuerySet[Project]:
        return visible_to(Project.objects.select_related("owner", "team"), self._user)

    @extend_schema(
        summary="Create a project",
        description="A group of jobs; its name is unique among your projects.",
        request=ProjectRequest,
        parameters=[PARAMETER],
        responses={201: ProjectSerializer, **ERROR_RESPONSES},
    )
    def create(self, request: Request) -> Response:
        def prepare() -> tuple[ProjectRequest, Group | None]:
            data = validate(ProjectRequest, query_params.json_object(request))
            return data, get_team(self._user, data.team)

        def create(prepared: tuple[ProjectRequest, Group | None]) -> Response:
            data, team = prepared
            try:
                project = projects.create_project(self._user, data.name, data.description, team)
            except projects.ProjectNameTakenError as error:
                raise InvalidInputError({"name": [str(error)]}) from error
            return Response(self.get_serializer(project).data, status=status.HTTP_201_CREATED)

        return create_once(request, prepare, create)

    @extend_schema(
        summary="Update a project",
        description="Changes name, description or team. Only its owner and staff can do this.",
        request=ProjectPatch,
        responses={
            200: ProjectSerializer, 400: ProblemSerializer, 403: ProblemSerializer,
            404: ProblemSerializer,
        },
    )  # fmt: skip
    def partial_update(self, request: Request, pk: str) -> Response:
        project = self.get_object()
        require_owner(project, self._user)
        patch = validate(ProjectPatch, query_params.json_object(request))
        changes = patch.model_dump(exclude_unset=True)
        if "team" in changes:
            changes["team"] = get_team(self._user, changes["team"])
        try:
            project = projects.update_project(project, **changes)
        except projects.ProjectNameTakenError as error:
            raise InvalidInputError({"name": [str(error)]}) from error
        return Response(self.get_serializer(project).data)

    @extend_schema(
        summary="Delete a project",
        description="Deletes the project. Its jobs are kept and move to their owners' default "
        "projects. Only its owner and staff can do this.",
        responses={204: None, 403: ProblemSerializer, 404: ProblemSerializer},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        project = self.get_object()
        require_owner(project, self._user)
        projects.delete_project(project)
        return Response(status=status.HTTP_204_NO_CONTENT)
