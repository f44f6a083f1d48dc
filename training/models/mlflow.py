"""Data of MLflow clients that projects and jobs have no field for (`training.mlflow`)."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models

from training.models.jobs import Job, Project


def new_model_id() -> str:
    return f"m-{uuid.uuid4().hex}"


class MlflowExperiment(models.Model):
    """The tags of a project, and whether MLflow clients have deleted it."""

    project = models.OneToOneField(
        Project, models.CASCADE, primary_key=True, related_name="mlflow_experiment"
    )
    tags = models.JSONField(default=dict)
    deleted_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"experiment {self.project_id}"


class MlflowRun(models.Model):
    """Data of a run for which the job has no field."""

    job = models.OneToOneField(Job, models.CASCADE, primary_key=True, related_name="mlflow_run")
    user_id = models.CharField(max_length=256, blank=True)
    tags = models.JSONField(default=dict)
    # Of a job that a worker runs, whose configuration is what it was submitted with.
    params = models.JSONField(default=dict)
    inputs = models.JSONField(default=list)  # datasets with their tags
    model_inputs = models.JSONField(default=list)
    model_outputs = models.JSONField(default=list)
    # Hidden from searches of MLflow clients, not from pages.
    deleted_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"run {self.job_id}"


class LoggedModel(models.Model):
    """A model that a run has logged; its files are artifacts of the job."""

    id = models.CharField(primary_key=True, max_length=40, default=new_model_id)
    job = models.ForeignKey(Job, models.CASCADE, related_name="logged_models")
    # The client named no run; the job was made for the model.
    without_run = models.BooleanField(default=False)
    name = models.CharField(max_length=500)
    model_type = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=40)
    params = models.JSONField(default=dict)
    tags = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-created_at", "id"]

    def __str__(self) -> str:
        return self.name


class RegisteredModel(models.Model):
    """A name under which versions of models are kept; only its owner and staff see it."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    name = models.CharField(max_length=250)
    description = models.TextField(blank=True)
    tags = models.JSONField(default=dict)
    aliases = models.JSONField(default=dict)  # version by alias
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "name"], name="registered_model_once")
        ]

    def __str__(self) -> str:
        return self.name


class ModelVersion(models.Model):
    """A version of a registered model: where its files are."""

    registered = models.ForeignKey(RegisteredModel, models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    source = models.TextField()
    run_id = models.CharField(max_length=40, blank=True)
    run_link = models.TextField(blank=True)
    # Empty if the source is another place.
    logged_model_id = models.CharField(max_length=40, blank=True)
    description = models.TextField(blank=True)
    tags = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-version"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["registered", "version"], name="model_version_once")
        ]

    def __str__(self) -> str:
        return f"version {self.version} of {self.registered_id}"
