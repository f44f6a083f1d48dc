"""The pages' addresses."""

from __future__ import annotations

from django.urls import path
from django.views.generic import RedirectView

from training.pages import (
    compare,
    datasets,
    edit,
    job,
    jobs,
    models,
    sharing,
    start,
    startsweep,
    sweeps,
)

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="jobs"), name="home"),
    path("jobs", jobs.jobs, name="jobs"),
    path("jobs/new", start.start, name="start"),
    path("jobs/first", start.first, name="first"),
    path("jobs/<uuid:pk>", job.job, name="job"),
    path("jobs/<uuid:pk>/pause", job.steer, {"wish": "pause"}, name="pause"),
    path("jobs/<uuid:pk>/resume", job.steer, {"wish": "resume"}, name="resume"),
    path("jobs/<uuid:pk>/cancel", job.cancel, name="cancel"),
    path("jobs/<uuid:pk>/edit", edit.edit, name="edit"),
    path("jobs/<uuid:pk>/share", sharing.share, {"kind": "job"}, name="share-job"),
    path("jobs/<uuid:pk>/epochs", job.epochs, name="epochs"),
    path("jobs/<uuid:pk>/epochs.csv", job.epochs_csv, name="epochs-csv"),
    path("compare", compare.compare, name="compare"),
    path("sweeps", sweeps.sweeps, name="sweeps"),
    path("sweeps/new", startsweep.start_sweep, name="start-sweep"),
    path("sweeps/<uuid:pk>", sweeps.sweep, name="sweep"),
    path("sweeps/<uuid:pk>/pause", sweeps.steer, {"wish": "pause"}, name="pause-sweep"),
    path("sweeps/<uuid:pk>/resume", sweeps.steer, {"wish": "resume"}, name="resume-sweep"),
    path("sweeps/<uuid:pk>/cancel", sweeps.cancel, name="cancel-sweep"),
    path("datasets", datasets.datasets, name="datasets"),
    path("datasets/<uuid:pk>", datasets.dataset, name="dataset"),
    path("datasets/<uuid:pk>/share", sharing.share, {"kind": "dataset"}, name="share-dataset"),
    path("datasets/<uuid:pk>/delete", datasets.delete_dataset, name="delete-dataset"),
    path("models", models.models, name="models"),
    path("models/<uuid:pk>", models.model, name="model"),
]
