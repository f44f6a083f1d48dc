"""/api/v1"""

from __future__ import annotations

from django.conf import settings
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny
from rest_framework.routers import SimpleRouter

from training.api.csp import csp_override
from training.api.views.datasets import DatasetViewSet
from training.api.views.jobs import JobViewSet
from training.api.views.limits import AccountLimitsView
from training.api.views.models import ModelViewSet
from training.api.views.programs import ProgramDetailView, ProgramsView
from training.api.views.projects import ProjectViewSet
from training.api.views.reports import ReportViewSet
from training.api.views.schema import SchemaView
from training.api.views.sweeps import SweepViewSet
from training.api.views.tokens import TokenDetailView, TokensView, TokenView
from training.api.views.trainer_status import TrainerStatusViewSet
from training.api.views.webhooks import WebhookViewSet

router = SimpleRouter(trailing_slash=False)
router.register("jobs", JobViewSet, basename="job")
router.register("datasets", DatasetViewSet, basename="dataset")
router.register("projects", ProjectViewSet, basename="project")
router.register("models", ModelViewSet, basename="model")
router.register("sweeps", SweepViewSet, basename="sweep")
router.register("reports", ReportViewSet, basename="report")
router.register("webhooks", WebhookViewSet, basename="webhook")

# The schema is public: it contains no data.
OPEN: dict[str, list[type[AllowAny]]] = {
    "permission_classes": [AllowAny],
    "authentication_classes": [],
}
# Swagger UI sets inline styles.
DOCS_CSP = {**settings.SECURE_CSP, "style-src": ["'self'", "'unsafe-inline'"]}
docs = csp_override(DOCS_CSP)(SpectacularSwaggerSplitView.as_view(url_name="schema", **OPEN))

urlpatterns = [
    path("training/", include(router.urls)),
    # Seven digits: the number of an attempt fits the column.
    re_path(
        r"^training/jobs/(?P<pk>[^/.]+)/attempts/(?P<number>[0-9]{1,7})/status$",
        TrainerStatusViewSet.as_view({"post": "create"}),
        name="trainer-status",
    ),
    path("training/programs", ProgramsView.as_view(), name="programs"),
    path("training/programs/<str:name>", ProgramDetailView.as_view(), name="program"),
    path("auth/token", TokenView.as_view(), name="token"),
    path("auth/tokens", TokensView.as_view(), name="tokens"),
    path("auth/tokens/<int:pk>", TokenDetailView.as_view(), name="token-detail"),
    path("account/limits", AccountLimitsView.as_view(), name="account-limits-data"),
    path("schema", SchemaView.as_view(**OPEN), name="schema"),
    path("docs", docs, name="docs"),
]
