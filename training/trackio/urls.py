"""/version and /api: what Trackio's client calls below the address of its server."""

from __future__ import annotations

from django.urls import path

from training.trackio.views import OPERATIONS, OperationView, UploadView, VersionView

urlpatterns = [
    path("version", VersionView.as_view()),
    path("api/upload", UploadView.as_view()),
    *(
        path(f"api/{name}", OperationView.as_view(operation=operation))
        for name, operation in OPERATIONS.items()
    ),
]
