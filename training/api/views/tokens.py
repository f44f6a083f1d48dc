"""A token for a name and a password."""

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
from training.accounts.tokens import create_token_row, revoke_token
from training.api.authentication import BearerAuthentication
from training.api.serializers.jobs import (
    ProblemSerializer,
    TokenRequestSerializer,
    TokenRowSerializer,
    TokenSerializer,
)
from training.api.throttling import PerAddress
from training.models import ApiToken


class TokenView(APIView):
    """Each call gives a new token; it is shown this once."""

    # No session: a token is for programs, and a cookie here would ask for a CSRF token too.
    authentication_classes = (BearerAuthentication,)
    permission_classes = (AllowAny,)
    throttle_classes = (PerAddress,)

    @extend_schema(
        summary="Get a token",
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
        sent = TokenRequestSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        names = ("username", "password")
        user = authenticate(request, **{name: sent.validated_data[name] for name in names})
        if not isinstance(user, User):
            raise AuthenticationFailed("The user name or the password is wrong.")
        row, token = create_token_row(
            user, sent.validated_data["name"], sent.validated_data["days"]
        )
        return Response({"token": token, "id": row.pk, "expires_at": row.expires_at})


class TokensView(APIView):
    """One's own tokens: what they are called and when they were used, never what they say."""

    @extend_schema(summary="Your tokens", responses={200: TokenRowSerializer(many=True)})
    def get(self, request: Request) -> Response:
        rows = ApiToken.objects.filter(user=signed_in_user(request))
        return Response(TokenRowSerializer(rows, many=True).data)


class TokenDetailView(APIView):
    """One of them."""

    @extend_schema(summary="Revoke a token", responses={204: None, 404: ProblemSerializer})
    def delete(self, request: Request, pk: int) -> Response:
        revoke_token(
            get_object_or_404(ApiToken.objects.filter(user=signed_in_user(request)), pk=pk)
        )
        return Response(status=status.HTTP_204_NO_CONTENT)
