"""Base classes of the view sets: the current user, and lists and objects with ETags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from training.accounts.tokens import TokenCredential
from training.api import etags
from training.models.scopes import MissingScopeError, Scope

Row = TypeVar("Row", bound=Model)


class UserViewSet(GenericViewSet[Row]):
    """A view set that requires a signed-in user."""

    # The scope that a token needs, for all actions or by action (`training.api.scopes`).
    scope: ClassVar[Scope | None] = None
    scopes: ClassVar[Mapping[str, Scope]] = {}

    def get_object(self) -> Row:
        try:
            return super().get_object()
        except Http404:
            self._require_admin()
            raise

    def _require_admin(self) -> None:
        """Raise MissingScopeError if the object exists and a staff token lacks the scope admin."""
        credential = self.request.auth
        if not isinstance(credential, TokenCredential) or not credential.withheld_staff:
            return
        if self._exists():
            raise MissingScopeError("admin", credential.scopes)

    def _exists(self) -> bool:
        rows: QuerySet[Any] = QuerySet(self.get_queryset().model)
        try:
            return rows.filter(pk=self.kwargs["pk"]).exists()
        except (ValueError, ValidationError):
            return False

    @property
    def _user(self) -> User:
        return cast(User, self.request.user)


class ETagViewSet(UserViewSet[Row]):
    """Lists and single objects with an ETag (`training.api.etags`)."""

    def etag_of(self, row: Row) -> str:
        raise NotImplementedError

    def list(self, request: Request) -> Response:
        rows = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return etags.conditional_page(
            request,
            rows,
            self.etag_of,
            lambda: self.get_paginated_response(self.get_serializer(rows, many=True).data).data,
        )

    def retrieve(self, request: Request, pk: str) -> Response:
        row = self.get_object()
        return etags.conditional_response(
            request, self.etag_of(row), lambda: self.get_serializer(row).data
        )
