"""Pages at the root, the API under /api/v1, the admin under /admin."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponseBase
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from heimdall.health import healthz, readyz
from heimdall.login import RateLimitedLoginView, admin_login_redirect
from heimdall.metrics import metrics
from training.api import errors as api_errors
from training.mlflow import errors as mlflow_errors
from training.web import error_pages

MLFLOW = "api/2.0/"

admin.site.site_header = admin.site.site_title = "Heimdall"
admin.site.index_title = "Operations"
admin.site.site_url = None  # the templates of the admin link to the site
admin.site.enable_nav_sidebar = False  # leaves its width to the change lists

urlpatterns = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
    path("admin/login/", admin_login_redirect),
    # Where the present password is checked as at a sign-in.
    path("admin/password_change/", RedirectView.as_view(pattern_name="account")),
    path("admin/", admin.site.urls),
    path("login", RateLimitedLoginView.as_view(), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("api/v1/docs/", RedirectView.as_view(pattern_name="docs", permanent=True)),
    path("api/v1/", include("training.api.urls")),
    path(MLFLOW, include("training.mlflow.urls")),
    path("", include("training.trackio.urls")),
    re_path(r"^api(?:/|$)", api_errors.unknown_path),
    path("", include("training.web.urls")),
]
if settings.OIDC_PROVIDER_ID:
    urlpatterns.append(path("", include("heimdall.oidc")))


def handler400(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """For requests that Django rejects before a view is called."""
    if request.path_info.startswith(f"/{MLFLOW}"):
        return mlflow_errors.bad_request(request, exception)
    if request.path_info.startswith("/api/"):
        return api_errors.bad_request(request, exception)
    return error_pages.bad_request(request, exception)


def handler500(request: HttpRequest) -> HttpResponseBase:
    if request.path_info.startswith(f"/{MLFLOW}"):
        return mlflow_errors.server_error(request)
    is_api = request.path_info.startswith("/api/")
    return (api_errors.server_error if is_api else error_pages.server_error)(request)


handler403 = error_pages.permission_denied
handler404 = error_pages.not_found
