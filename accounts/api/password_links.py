"""The one-time link with which users set their password: its page, and the endpoint that the page calls."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers import PasswordLinkSerializer
from accounts.api.sessions import UnauthenticatedView
from accounts.client import Origin
from accounts.sign_in import password_links


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Return the form. It is the same for all users: the token is in the URL's fragment, which stays in the browser."""
    response = render(request, "password.html")
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response


class PasswordLink(UnauthenticatedView):
    serializer_class = PasswordLinkSerializer

    @extend_schema(tags=["auth"], auth=[], responses={204: None})
    def post(self, request: Request) -> Response:
        """Set a password with the token of a one-time link, and end every session of the account.

        A token that is unknown, used or expired, or whose account is disabled, is 400 `link_invalid`.
        """
        data = self.valid()
        password_links.use(data["token"], data["new_password"], Origin.of(request), revoke_keys=data["revoke_api_keys"])
        return Response(status=status.HTTP_204_NO_CONTENT)
