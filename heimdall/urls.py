"""Every address: pages at the root, the API under /api/v1, the operators' desk under /admin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponseBase
from django.urls import include, path, re_path
from django.views.defaults import bad_request as page_of_refusal
from django.views.defaults import server_error as page_of_error

from heimdall.health import healthz, readyz
from heimdall.login import RateLimitedLoginView, admin_login_redirect
from heimdall.metrics import metrics
from training.api.errors import bad_request, server_error, unknown_path

admin.site.site_header = admin.site.site_title = "Heimdall"
admin.site.index_title = "Operations"
admin.site.site_url = None  # the desk links to the pages itself
admin.site.enable_nav_sidebar = False  # the list needs the room

urlpatterns = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
    path("admin/login/", admin_login_redirect),
    path("admin/", admin.site.urls),
    path("login", RateLimitedLoginView.as_view(), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("api/v1/", include("training.api.urls")),
    re_path(r"^api(?:/|$)", unknown_path),
    path("", include("training.web.urls")),
]


def handler400(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """What Django refuses before any view sees it, in the form that whoever asked can read."""
    if request.path.startswith("/api/"):
        return bad_request(request)
    return page_of_refusal(request, exception)


def handler500(request: HttpRequest) -> HttpResponseBase:
    """A fault of ours, likewise."""
    return (server_error if request.path.startswith("/api/") else page_of_error)(request)
