"""What the views of `/api/v1/auth/` share."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import principal_of
from accounts.models import User

ERROR = OpenApiResponse(OpenApiTypes.OBJECT, description="the error object")


def answers(success: dict[int, Any], *errors: int) -> dict[int, Any]:
    """The responses of a call for OpenAPI: its own, and errors in the contract's one shape."""
    return success | {status: ERROR for status in errors}


class AuthView(GenericAPIView):
    """A view whose answers hold credentials or personal data: never cached anywhere."""

    pagination_class: Any = None
    filter_backends: list[Any] = []

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    @property
    def me(self) -> User:
        """The signed-in user, in person or by key."""
        return principal_of(self.request).user

    def valid(self) -> dict[str, Any]:
        """The validated body; 400 naming each field otherwise."""
        serializer = self.get_serializer(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data
