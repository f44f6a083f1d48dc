"""The endpoint of a user's limits."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from training.accounts import limits
from training.accounts.permissions import signed_in_user
from training.api.serializers.limits import LimitSerializer


class AccountLimitsView(APIView):
    @extend_schema(
        summary="List your limits",
        description="Your current usage and your limits. At a limit, requests are refused with "
        "409, or with 429 and `Retry-After` if the limit frees up by itself; the problem has "
        "`limit`, `used` and `maximum`.",
        responses={200: LimitSerializer(many=True)},
    )
    def get(self, request: Request) -> Response:
        rows = limits.usage(signed_in_user(request))
        return Response(LimitSerializer(rows, many=True).data)
