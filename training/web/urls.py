"""URLs of the pages."""

from __future__ import annotations

from django.urls import path
from django.views.generic import RedirectView

from training.web.views import (
    compare,
    datasets,
    job_create,
    job_detail,
    job_edit,
    job_list,
    models,
    sharing,
    sweep_create,
    sweeps,
)

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="jobs"), name="home"),
    path("jobs", job_list.job_list, name="jobs"),
    path("jobs/new", job_create.create_job, name="create-job"),
    path("jobs/first", job_create.create_first_job, name="create-first-job"),
    path("jobs/<uuid:pk>", job_detail.job, name="job"),
    path("jobs/<uuid:pk>/pause", job_detail.job_action, {"action": "pause"}, name="pause"),
    path("jobs/<uuid:pk>/resume", job_detail.job_action, {"action": "resume"}, name="resume"),
    path("jobs/<uuid:pk>/cancel", job_detail.cancel, name="cancel"),
    path("jobs/<uuid:pk>/edit", job_edit.edit_job, name="edit-job"),
    path("jobs/<uuid:pk>/share", sharing.share, {"kind": "job"}, name="share-job"),
    path("jobs/<uuid:pk>/epochs", job_detail.epoch_log, name="epochs"),
    path("jobs/<uuid:pk>/epochs.csv", job_detail.epochs_csv, name="epochs-csv"),
    path("compare", compare.compare, name="compare"),
    path("sweeps", sweeps.sweeps, name="sweeps"),
    path("sweeps/new", sweep_create.create_sweep, name="create-sweep"),
    path("sweeps/<uuid:pk>", sweeps.sweep, name="sweep"),
    path("sweeps/<uuid:pk>/pause", sweeps.sweep_action, {"action": "pause"}, name="pause-sweep"),
    path("sweeps/<uuid:pk>/resume", sweeps.sweep_action, {"action": "resume"}, name="resume-sweep"),
    path("sweeps/<uuid:pk>/cancel", sweeps.cancel, name="cancel-sweep"),
    path("datasets", datasets.dataset_list, name="datasets"),
    path("datasets/<uuid:pk>", datasets.dataset_detail, name="dataset"),
    path("datasets/<uuid:pk>/share", sharing.share, {"kind": "dataset"}, name="share-dataset"),
    path("datasets/<uuid:pk>/delete", datasets.delete_dataset, name="delete-dataset"),
    path("models", models.model_list, name="models"),
    path("models/<uuid:pk>", models.model_detail, name="model"),
]
