"""URLs of the pages."""

from __future__ import annotations

from django.urls import path
from django.views.generic import RedirectView

from training.web.throttling import throttle_page
from training.web.views import (
    account,
    compare,
    datasets,
    job_bulk,
    job_create,
    job_detail,
    job_edit,
    job_list,
    models,
    password_reset,
    programs,
    projects,
    sharing,
    sweep_create,
    sweeps,
)

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="jobs"), name="home"),
    path("jobs", job_list.job_list, name="jobs"),
    path("jobs/actions", job_bulk.job_actions, name="job-actions"),
    path("jobs/new", job_create.create_job, name="create-job"),
    path("jobs/first", job_create.create_first_job, name="create-first-job"),
    path("jobs/<uuid:pk>", job_detail.job, name="job"),
    path("jobs/<uuid:pk>/pause", job_detail.job_action, {"action": "pause"}, name="pause"),
    path("jobs/<uuid:pk>/resume", job_detail.job_action, {"action": "resume"}, name="resume"),
    path("jobs/<uuid:pk>/cancel", job_detail.cancel, name="cancel"),
    path("jobs/<uuid:pk>/edit", job_edit.edit_job, name="edit-job"),
    path("jobs/<uuid:pk>/share", sharing.share, {"kind": "job"}, name="share-job"),
    path("jobs/<uuid:pk>/epochs", job_detail.epoch_log, name="epochs"),
    path("jobs/<uuid:pk>/metrics", job_detail.metric_page, name="job-metrics-page"),
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
    path("programs", programs.program_list, name="program-list"),
    path("programs/<str:name>", programs.program_detail, name="program-page"),
    path("projects", projects.project_list, name="projects"),
    path("projects/new", projects.create_project, name="create-project"),
    path("projects/<uuid:pk>", projects.project_detail, name="project"),
    path("projects/<uuid:pk>/edit", projects.edit_project, name="edit-project"),
    path("projects/<uuid:pk>/delete", projects.delete_project, name="delete-project"),
    path("models", models.model_list, name="models"),
    path("account", account.account, name="account"),
    path("account/password", account.change_password, name="change-password"),
    path("account/email", account.change_email, name="change-email"),
    path("account/tokens", account.create_token, name="create-token"),
    path("account/tokens/<int:pk>/revoke", account.revoke_token, name="revoke-token"),
    path("account/oidc/connect", account.connect_oidc, name="connect-oidc"),
    path("account/oidc/disconnect", account.disconnect_oidc, name="disconnect-oidc"),
    path("account/sessions/end", account.end_other_sessions, name="end-other-sessions"),
    path("account/sessions/<slug:session_id>/end", account.end_session, name="end-session"),
    path("models/<uuid:pk>", models.model_detail, name="model"),
    path("password-reset", password_reset.ResetView.as_view(), name="password-reset"),
    path(
        "password-reset/<uidb64>/<token>",
        password_reset.SetPasswordView.as_view(),
        name="password-reset-confirm",
    ),
]
for pattern in urlpatterns:
    pattern.callback = throttle_page(pattern.callback)
