"""Files of runs and logged models: artifacts of the job.

The files of a logged model are in a folder of the job that logged it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from training.api import downloads, uploads
from training.api.artifact_response import artifact_response
from training.jobs import artifacts, reports
from training.mlflow import messages as m
from training.mlflow import model_messages as mm
from training.mlflow.errors import MlflowError, invalid, not_found
from training.mlflow.experiments import artifact_location, experiment_id
from training.mlflow.logged_models import artifact_uri, find_model
from training.mlflow.operations import Empty, MlflowAPIView
from training.mlflow.run_rows import find_run, writable_run
from training.models import Job
from training.models.scopes import Scope

# The folder of a job's artifacts with those of its logged models, which a run does not list.
MODELS = "mlflow-models"
_UNSUPPORTED = "Multipart upload is not supported for the current artifact repository"


@dataclass(frozen=True, slots=True)
class Location:
    """`folder`, empty or with a slash at its end, and `path` are the name of the artifact."""

    run_id: str
    folder: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.folder}{self.path}"


def model_folder(model_id: str) -> str:
    return f"{MODELS}/{model_id}/"


def locate(user: User, path: str) -> Location:
    """`<experiment>/<run>/artifacts/<path>`, or `<experiment>/models/<model>/artifacts/<path>`."""
    parts = path.strip("/").split("/")
    match parts:
        case [_, "models", model_id, "artifacts", *rest]:
            model = find_model(user, model_id)
            return Location(model.job_id.hex, model_folder(model_id), "/".join(rest))
        case [_, run_id, "artifacts", *rest]:
            return Location(run_id, "", "/".join(rest))
    raise not_found(f"The artifact folder {path[:200]!r} does not exist.")


def list_folder(user: User, request: m.ListFolder) -> m.FilesResponse:
    location = locate(user, request.path)
    files = _entries(find_run(user, location.run_id), location.folder, location.path)
    return m.FilesResponse(files=files)


def list_run(user: User, request: m.ListArtifacts) -> m.ArtifactsResponse:
    """Paths are relative to the root, unlike those of `list_folder`."""
    job, path = find_run(user, request.run_id), request.path.strip("/")
    root = f"{artifact_location(experiment_id(job))}/{job.pk.hex}/artifacts"
    below = f"{path}/" if path else ""
    files = [
        one.model_copy(update={"path": f"{below}{one.path}"}) for one in _entries(job, "", path)
    ]
    return m.ArtifactsResponse(root_uri=root, files=files)


def list_model(user: User, request: mm.ListLoggedModelArtifacts) -> mm.ModelArtifactsResponse:
    model = find_model(user, request.model_id)
    path = request.artifact_directory_path.strip("/")
    below = f"{path}/" if path else ""
    files = [
        one.model_copy(update={"path": f"{below}{one.path}"})
        for one in _entries(model.job, model_folder(model.pk), path)
    ]
    return mm.ModelArtifactsResponse(root_uri=artifact_uri(model), files=files)


def refuse_multipart(user: User, request: Empty) -> Empty:
    """The client sends the file in one request then."""
    raise MlflowError("NOT_IMPLEMENTED", f"{_UNSUPPORTED}.")


class ArtifactView(MlflowAPIView):
    """Upload and download of one file."""

    content_negotiation_class = downloads.IgnoreClientContentNegotiation

    @property
    def scope(self) -> Scope:
        return "report" if self.request.method == "PUT" else "read"

    def get(self, request: Request, path: str) -> HttpResponseBase:
        location = locate(self._user, path)
        job = find_run(self._user, location.run_id)
        found = artifacts.find_artifact(job, location.name)
        if found is None or not found.path.exists():
            raise not_found(f"No such artifact: {path!r}")
        return artifact_response(request, self._user, job, found, found.path)

    def put(self, request: Request, path: str) -> HttpResponseBase:
        location = locate(self._user, path)
        if not location.folder and location.path.startswith(f"{MODELS}/"):
            raise invalid(f"The folder {MODELS!r} is reserved for logged models.")
        with transaction.atomic():
            job = writable_run(self._user, location.run_id, lock=True)
            reports.record_points(job, {}, self._user.username)
        try:
            uploads.store(request, job, location.name, settings.ARTIFACTS_MAX_BYTES)
        except (artifacts.ArtifactNameError, artifacts.ArtifactQuotaError) as error:
            raise invalid(str(error)) from error
        return HttpResponse("{}", content_type="application/json")


def _entries(job: Job, folder: str, path: str) -> list[m.FileInfo]:
    """The files and folders directly below the path, by name."""
    below = f"{folder}{path}/" if path else folder
    found: dict[str, m.FileInfo] = {}
    for artifact in _listed(job, folder):
        if artifact.name.startswith(below):
            name, slash, _ = artifact.name.removeprefix(below).partition("/")
            size = None if slash else artifact.bytes
            found[name] = m.FileInfo(path=name, is_dir=bool(slash), file_size=size)
    return [found[name] for name in sorted(found)]


def _listed(job: Job, folder: str) -> Iterable[artifacts.Artifact]:
    for artifact in artifacts.list_artifacts(job):
        if folder or not artifact.name.startswith(f"{MODELS}/"):
            yield artifact
