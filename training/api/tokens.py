"""A token for a name and a password."""

from __future__ import annotations

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from training.api.auth import BearerAuthentication
from training.api.limits import PerAddress
from training.serializers import ProblemSerializer, TokenRequestSerializer, TokenSerializer
from training.tokens import issue


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
        user = authenticate(request, **sent.validated_data)
        if not isinstance(user, User):
            raise AuthenticationFailed("The user name or the password is wrong.")
        return Response({"token": issue(user)})
