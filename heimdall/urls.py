"""Every address: pages at the root, the API under /api/v1, the operators' desk under /admin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

admin.site.site_header = admin.site.site_title = "Heimdall"
admin.site.index_title = "Operations"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("login", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("api/v1/", include("training.api.urls")),
    path("", include("training.urls")),
]
