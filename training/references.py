"""Rows that were deleted while a transaction stored a reference to them."""

from __future__ import annotations

from django.db import IntegrityError

DELETED = (
    "Something that the request refers to, such as a dataset or project, was deleted in the "
    "meantime. Nothing was saved; choose another one."
)
_SQLSTATE, _SQLITE_NAME = "23503", "SQLITE_CONSTRAINT_FOREIGNKEY"


def is_deleted_reference(error: BaseException | None) -> bool:
    """Foreign keys are checked when the transaction commits, so after all other checks."""
    if not isinstance(error, IntegrityError):
        return False
    cause = error.__cause__
    return (
        getattr(cause, "sqlstate", "") == _SQLSTATE
        or getattr(cause, "sqlite_errorname", "") == _SQLITE_NAME
    )
