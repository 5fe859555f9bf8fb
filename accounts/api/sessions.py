"""Registration, sign-in, refresh, sign-out and WebSocket tickets."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import audit
from accounts.api.base import AuthView
from accounts.api.serializers import (
    EndedSerializer,
    LoginSerializer,
    LogoutSerializer,
    PairSerializer,
    RefreshSerializer,
    RegisterSerializer,
    SignedInSerializer,
    TicketSerializer,
    UserSerializer,
)
from accounts.authentication import authenticate_sync, principal_of
from accounts.client import Origin
from accounts.models import TokenFamily
from accounts.permissions import InPerson
from accounts.sign_in import service as sign_in
from accounts.sign_in import tickets, tokens
from aiagents.core import registration
from aiagents.core.errors import InvalidRequest

_NOT_ADMITTED = OpenApiResponse(None, description="Registration is closed, or not open to this address: `registration_closed`.")


class UnauthenticatedView(AuthView):
    """A view whose credential is in the body. It ignores headers, such as an expired token."""

    authentication_classes: list[type] = []
    permission_classes = [AllowAny]

    def signed_in(self, done: sign_in.SignedIn, code: int) -> Response:
        user = UserSerializer(done.user, context=self.get_serializer_context()).data
        return Response({"access": done.pair.access, "refresh": done.pair.refresh, "user": user}, code)


class Register(UnauthenticatedView):
    serializer_class = RegisterSerializer

    @extend_schema(tags=["auth"], auth=[], responses={201: SignedInSerializer, 403: _NOT_ADMITTED})
    def post(self, request: Request) -> Response:
        """Create a user and sign in. A taken e-mail gets an unspecific error.

        403 `registration_closed` where this installation does not accept the registration; `GET /api/v1/system/info`
        shows the mode.
        """
        registration.refuse_if_closed()
        data = self.valid()
        done = sign_in.register(data["email"], data["password"], data["name"], Origin.of(request))
        return self.signed_in(done, status.HTTP_201_CREATED)


class Login(UnauthenticatedView):
    serializer_class = LoginSerializer

    @extend_schema(tags=["auth"], auth=[], responses={200: SignedInSerializer})
    def post(self, request: Request) -> Response:
        """Sign in. Limited per address and per account; unknown e-mail and wrong password get the same error."""
        data = self.valid()
        return self.signed_in(sign_in.sign_in(data["email"], data["password"], Origin.of(request)), status.HTTP_200_OK)


class Refresh(UnauthenticatedView):
    serializer_class = RefreshSerializer

    @extend_schema(tags=["auth"], auth=[], responses={200: PairSerializer})
    def post(self, request: Request) -> Response:
        """Exchange a refresh token for a new pair.

        A repeat within seconds returns the same pair; a later one ends the session.
        """
        pair = tokens.rotate(self.valid()["refresh"])
        return Response({"access": pair.access, "refresh": pair.refresh})


class Logout(UnauthenticatedView):
    serializer_class = LogoutSerializer

    @extend_schema(tags=["auth"], responses={204: None})
    def post(self, request: Request) -> Response:
        """End the session of the refresh token in the body, else of the access token in the header.

        Both tokens end at once.
        """
        refresh = self.valid().get("refresh")
        if refresh:
            family = tokens.sign_out(refresh)
        else:
            principal = authenticate_sync(
                {name: request.headers[name] for name in ("authorization", "x-api-key") if name in request.headers}
            )
            if principal.family_id is None:
                raise InvalidRequest("An API key has no session; revoke the key instead.")
            family = TokenFamily.objects.select_related("user").get(pk=principal.family_id)
            tokens.revoke(family, "logout")
        if family:
            audit.record("logout", actor=family.user, target=family, ip=Origin.of(request).ip)
        return Response(status=status.HTTP_204_NO_CONTENT)


class LogoutAll(AuthView):
    permission_classes = [InPerson]

    @extend_schema(tags=["auth"], request=None, responses={200: EndedSerializer})
    def post(self, request: Request) -> Response:
        """End every session of the user, also this one. API keys stay valid: revoke them one by one."""
        ended = self.me.end_sessions(reason="logout_all")
        audit.record("logout_all", actor=self.me, target=self.me, ip=Origin.of(request).ip, details={"sessions": ended})
        return Response({"sessions_ended": ended})


class WebSocketTicket(AuthView):
    @extend_schema(tags=["auth"], request=None, responses={201: TicketSerializer})
    def post(self, request: Request) -> Response:
        """Return a ticket for one WebSocket, valid once for 30 seconds: subprotocols `["aiagents.v1", "ticket.<ticket>"]`."""
        ticket = tickets.issue(principal_of(request))
        return Response({"ticket": ticket, "expires_in": tickets.LIFE_SECONDS}, status.HTTP_201_CREATED)
