"""Name, notes and tags of a job: they do not affect training and can be edited at any time."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from training.text import Name, Text

Tags = Annotated[
    list[Annotated[Name, Field(min_length=1, max_length=50)]],
    Field(max_length=20, description="Labels for searching."),
]


class Metadata(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field("", max_length=200, description="Shown in lists.")
    notes: Text = Field("", max_length=20_000, description="Free text.")
    tags: Tags = []
