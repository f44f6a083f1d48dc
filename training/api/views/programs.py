"""Endpoints of programs: what can be trained here."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import JsonValue
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from training.api.serializers.problems import ProblemSerializer
from training.api.serializers.programs import ProgramPageSerializer, ProgramSerializer
from training.programs.manifest import ManifestError, Program
from training.programs.registry import UnknownProgramError, get_program, list_programs


class ProgramsView(APIView):
    @extend_schema(
        operation_id="programs_list",
        summary="List programs",
        description="The built-in program and those that the operator has installed.",
        responses={200: ProgramPageSerializer},
    )
    def get(self, request: Request) -> Response:
        results = [program_as_json(program) for program in list_programs()]
        return Response({"next": None, "previous": None, "results": results})


class ProgramDetailView(APIView):
    @extend_schema(
        operation_id="programs_retrieve",
        summary="Get a program",
        description="Its parameters, objective and metrics.",
        parameters=[OpenApiParameter("name", OpenApiTypes.STR, OpenApiParameter.PATH)],
        responses={200: ProgramSerializer, 404: ProblemSerializer},
    )
    def get(self, request: Request, name: str) -> Response:
        try:
            return Response(program_as_json(get_program(name)))
        except (UnknownProgramError, ManifestError) as error:
            raise NotFound(str(error)) from error


def program_as_json(program: Program) -> dict[str, JsonValue]:
    objective = program.objective
    return {
        "name": program.name,
        "title": program.title,
        "description": program.description,
        "parameters": program.parameters.model_json_schema(),
        "objective": {"metric": objective.metric, "direction": objective.direction}
        if objective
        else None,
        "metrics": [
            {
                "name": metric.name,
                "title": metric.title,
                "unit": metric.unit,
                "direction": metric.direction,
                "format": metric.format,
            }
            for metric in program.metrics.values()
        ],
        "needs": program.needs,
        "resumable": program.resumable,
        "has_datasets": program.datasets is not None,
    }
