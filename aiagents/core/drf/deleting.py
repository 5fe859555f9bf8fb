"""`DELETE …?now=true`: shared by the endpoints that delete softly first and erase later."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from aiagents.core.errors import InvalidRequest

NOW = OpenApiParameter("now", bool, description="true: erase it at once, even if it was deleted before")


class ErasingSerializer(serializers.Serializer):
    """The deleted object is hidden and not erased yet."""

    erasing = serializers.BooleanField()


RESPONSES = {204: None, 202: ErasingSerializer}


def wants_now(request: Request) -> bool:
    """Whether the request has `now=true`. Raises InvalidRequest if `now` is neither true nor false."""
    now = request.query_params.get("now", "false")
    if now not in ("true", "false"):
        raise InvalidRequest("now must be true or false.", param="now")
    return now == "true"


def answer(erased: bool) -> Response:
    """204 if everything was erased, 202 if the sweep has to finish it."""
    return Response(status=status.HTTP_204_NO_CONTENT) if erased else Response({"erasing": True}, status.HTTP_202_ACCEPTED)
