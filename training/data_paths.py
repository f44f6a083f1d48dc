"""Paths in messages for users, relative to the data folder, whose location is for operators."""

from __future__ import annotations

from django.conf import settings


def without_data_dir(message: str) -> str:
    return message.replace(f"{settings.DATA_DIR}/", "")
