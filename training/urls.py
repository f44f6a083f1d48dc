"""The pages' addresses."""

from __future__ import annotations

from django.urls import path
from django.views.generic import RedirectView

from training import views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="jobs"), name="home"),
    path("jobs", views.jobs, name="jobs"),
    path("jobs/new", views.start, name="start"),
    path("jobs/<uuid:pk>", views.job, name="job"),
    path("datasets", views.datasets, name="datasets"),
]
