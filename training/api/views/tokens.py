"""Endpoints of API tokens."""

from __future__ import annotations

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from training.accounts.permissions import signed_in_user
from training.accounts.sign_in_limits import TooManyFailuresError
from training.accounts.tokens import TokenCredential, create_token, revoke_token
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
        description="Creates a token for a user name and password. Only this response shows it. "
        "`scopes` limit what it permits; the default is all but `admin`.",
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
        try:
            user = authenticate(request, username=data["username"], password=data["password"])
        except TooManyFailuresError as error:
            raise Throttled(wait=error.seconds, detail=str(error)) from error
        if not isinstance(user, User):
            raise AuthenticationFailed("The user name or the password is wrong.")
        row, token = create_token(user, data["name"], data["days"], data["scopes"])
        created = {"token": token, "id": row.pk, "expires_at": row.expires_at, "scopes": row.scopes}
        return Response(created)


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
    # A token without the scope `train` can still revoke itself.
    permission_classes = (IsAuthenticated,)
    object_name = "Token"

    @extend_schema(
        summary="Revoke a token",
        description="Deletes one of your tokens. Requests with it fail immediately. A token can "
        "revoke itself, and with the scope `train` others.",
        responses={204: None, 403: ProblemSerializer, 404: ProblemSerializer},
    )
    def delete(self, request: Request, pk: int) -> Response:
        if isinstance(request.auth, TokenCredential) and request.auth.token_id != pk:
            request.auth.require("train")
        revoke_token(
            get_object_or_404(ApiToken.objects.filter(user=signed_in_user(request)), pk=pk)
        )
        return Response(status=status.HTTP_204_NO_CONTENT)
