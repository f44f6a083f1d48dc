"""Paths in messages for users: below the data folder, whose place only operators need to know."""

from __future__ import annotations

from django.conf import settings


def without_data_dir(message: str) -> str:
    return message.replace(f"{settings.DATA_DIR}/", "")
