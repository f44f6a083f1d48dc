"""An index of a column that contains an array of texts."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.indexes import GinIndex
from django.db import models


class TextsIndex(models.Index):
    """PostgreSQL finds the rows that contain a text. SQLite reads the index instead of the rows."""

    def create_sql(
        self, model: type[models.Model], schema_editor: Any, using: str = "", **options: Any
    ) -> Any:
        if schema_editor.connection.vendor != "postgresql":
            return super().create_sql(model, schema_editor, using, **options)
        column, *_ = self.fields
        inverted = GinIndex(fields=[column], name=self.name, opclasses=["jsonb_path_ops"])
        return inverted.create_sql(model, schema_editor, **options)
