"""The page that explains how to import runs of other tools, and lists imported jobs.

The command `heimdall import` reads them where they are: stores have gigabytes, and a server does
not open databases that a user names (ADR 48).
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from training.accounts.permissions import signed_in_user
from training.models import Job
from training.web.sign_in import sign_in_required

NEWEST = 20


@dataclass(frozen=True, slots=True)
class Source:
    """A tool, what the command takes of it, and such a path."""

    tool: str
    takes: str
    path: str


SOURCES = (
    Source("MLflow", "an mlruns folder, or one of its experiments or runs", "mlruns"),
    Source("MLflow", "its database: SQLite or PostgreSQL", "sqlite:///mlflow.db"),
    Source("TensorBoard", "a folder with event files; each such folder is a run", "runs"),
    Source("Weights & Biases", "a wandb folder with offline runs", "wandb"),
    Source("CSV", "a table with a column step or epoch, or a folder of such files", "loss.csv"),
)


@require_safe
@sign_in_required
def import_runs(request: HttpRequest) -> HttpResponse:
    imported = Job.objects.filter(~Q(external_id=""), owner=signed_in_user(request))
    count = imported.count()
    newest = imported.select_related("project").order_by("-created_at", "-id")[:NEWEST]
    context = {
        "server": request.build_absolute_uri(reverse("home")).rstrip("/"),
        "sources": SOURCES,
        "count": count,
        "jobs": newest if count else [],
    }
    return render(request, "training/import.html", context)
