"""The base class of the views of `/api/v1/auth/`."""

from __future__ import annotations

from typing import Any

from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import principal_of
from accounts.models import User


class AuthView(GenericAPIView):
    """A view whose responses contain credentials or personal data and must never be cached."""

    pagination_class: Any = None
    filter_backends: list[Any] = []

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    @property
    def me(self) -> User:
        """Return the user of the request, signed in or by API key."""
        return principal_of(self.request).user

    def valid(self) -> dict[str, Any]:
        """Return the validated body; raise an error (400) that names each bad field."""
        serializer = self.get_serializer(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data
