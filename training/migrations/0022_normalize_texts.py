"""Texts of before the rule for texts: SQLite stored characters that PostgreSQL refuses, and names in
either spelling, which a search now finds in one."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from heimdall_sdk.text import clean_name, clean_values

NAMES = (("Dataset", "name"), ("Sweep", "name"), ("Job", "name"), ("ApiToken", "name"))
VALUES = (
    ("Job", "notes"), ("Job", "tags"), ("Job", "config"), ("Job", "error_message"),
    ("Project", "description"), ("Webhook", "description"),
)  # fmt: skip


def normalize(apps: Any, schema_editor: Any) -> None:
    for model, field in NAMES:
        _update(apps.get_model("training", model), field, clean_name)
    for model, field in VALUES:
        _update(apps.get_model("training", model), field, clean_values)
    _update_projects(apps.get_model("training", "Project"))


def _update(model: Any, field: str, cleaned: Any) -> None:
    changed = [
        (pk, value, better)
        for pk, value in model.objects.values_list("pk", field).iterator()
        if (better := cleaned(value)) != value
    ]
    for pk, value, better in changed:
        # A name of which nothing can be seen still has to be one.
        fallback = f"{model.__name__.lower()} {pk}" if value and better == "" else better
        model.objects.filter(pk=pk).update(**{field: fallback})


def _update_projects(projects: Any) -> None:
    """A user's projects have different names."""
    for pk, owner, name in list(projects.objects.values_list("pk", "owner", "name")):
        if (better := clean_name(name)) != name:
            taken = projects.objects.filter(owner=owner, name=better).exists()
            unique = f"{better} {pk}".strip() if taken or not better else better
            projects.objects.filter(pk=pk).update(name=unique)


class Migration(migrations.Migration):
    dependencies = [("training", "0021_claims")]
    operations = [migrations.RunPython(normalize, migrations.RunPython.noop)]
