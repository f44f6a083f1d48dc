"""Base classes of the view sets: the current user, and lists and objects with ETags."""

from __future__ import annotations

from typing import TypeVar, cast

from django.contrib.auth.models import User
from django.db.models import Model
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from training.api import etags

Row = TypeVar("Row", bound=Model)


class UserViewSet(GenericViewSet[Row]):
    """A view set that requires a signed-in user."""

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
