"""Endpoints of API tokens."""

from __future__ import annotations

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from training.accounts.permissions import signed_in_user
from training.accounts.tokens import create_token, revoke_token
from training.api.authentication import BearerAuthentication
from training.api.serializers.problems import ProblemSerializer
from training.api.serializers.tokens import (
    TokenRequestSerializer,
    TokenRowSerializer,
    TokenSerializer,
)
from training.api.throttling import AddressThrottle
from training.models import ApiToken


class TokenView(APIView):
    # No session authentication: clients are programs, and a cookie would require a CSRF token.
    authentication_classes = (BearerAuthentication,)
    permission_classes = (AllowAny,)
    throttle_classes = (AddressThrottle,)

    @extend_schema(
        summary="Create a token",
        description="Creates a token for a user name and password. Only this response shows it.",
        auth=[],
        request=TokenRequestSerializer,
        responses={
            200: TokenSerializer,
            400: ProblemSerializer,
            401: ProblemSerializer,
            429: ProblemSerializer,
        },
    )
    def post(self, request: Request) -> Response:
        serializer = TokenRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        user = authenticate(request, username=data["username"], password=data["password"])
        if not isinstance(user, User):
            raise AuthenticationFailed("The user name or the password is wrong.")
        row, token = create_token(user, data["name"], data["days"])
        return Response({"token": token, "id": row.pk, "expires_at": row.expires_at})


class TokensView(APIView):
    @extend_schema(
        summary="List your tokens",
        description="Names and dates of your tokens; the tokens themselves cannot be read.",
        responses={200: TokenRowSerializer(many=True)},
    )
    def get(self, request: Request) -> Response:
        rows = ApiToken.objects.filter(user=signed_in_user(request))
        return Response(TokenRowSerializer(rows, many=True).data)


class TokenDetailView(APIView):
    @extend_schema(
        summary="Revoke a token",
        description="Deletes one of your tokens. Requests with it fail from now on.",
        responses={204: None, 404: ProblemSerializer},
    )
    def delete(self, request: Request, pk: int) -> Response:
        revoke_token(
            get_object_or_404(ApiToken.objects.filter(user=signed_in_user(request)), pk=pk)
        )
        return Response(status=status.HTTP_204_NO_CONTENT)
