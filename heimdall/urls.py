"""Pages at the root, the API under /api/v1, the admin under /admin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponseBase
from django.urls import include, path, re_path
from django.views.defaults import bad_request as bad_request_page
from django.views.defaults import server_error as server_error_page

from heimdall.health import healthz, readyz
from heimdall.login import RateLimitedLoginView, admin_login_redirect
from heimdall.metrics import metrics
from training.api.errors import bad_request, server_error, unknown_path

admin.site.site_header = admin.site.site_title = "Heimdall"
admin.site.index_title = "Operations"
admin.site.site_url = None  # the templates of the admin link to the site
admin.site.enable_nav_sidebar = False  # leaves its width to the change lists

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
    """For requests that Django rejects before a view is called; JSON for the API."""
    if request.path.startswith("/api/"):
        return bad_request(request)
    return bad_request_page(request, exception)


def handler500(request: HttpRequest) -> HttpResponseBase:
    return (server_error if request.path.startswith("/api/") else server_error_page)(request)
