"""`Idempotency-Key` for DRF views, with the same store as the asynchronous endpoints."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from aiagents.core import idempotency
from aiagents.core.idempotency import Claim, Replay
from aiagents.core.metrics.counters import REPLAYS


class _Replayed(Exception):
    def __init__(self, replay: Replay) -> None:
        self.replay = replay


class IdempotentMixin:
    """Runs POST requests (or `idempotent_methods`) with a key once. Put it first among a view's bases.

    The claim is made after authentication, permissions and throttles. The handler finds it as `request.claim`.
    """

    idempotent_methods: ClassVar[frozenset[str]] = frozenset({"POST"})
    _claim: Claim | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]  # a mixin: the other base class has it
        request.claim = None  # type: ignore[attr-defined]  # our attribute of the request
        key = request.headers.get("Idempotency-Key")
        if key is None or request.method not in self.idempotent_methods or not request.user.is_authenticated:
            return
        body = request._request.body  # before a parser takes the stream
        mark = idempotency.fingerprint(request.method, request.path, body)
        principal = str(request.user.pk)
        begun = idempotency.begin_sync(principal, idempotency.valid_key(key), mark)
        if isinstance(begun, Replay):
            if begun.status:
                raise _Replayed(begun)
            begun = idempotency.take_over_sync(principal, key)
        self._claim = request.claim = begun  # type: ignore[attr-defined]  # our attribute of the request

    def handle_exception(self, exc: Exception) -> HttpResponseBase:
        if isinstance(exc, _Replayed):
            REPLAYS.inc()
            answer = HttpResponse(exc.replay.body, status=exc.replay.status, content_type=exc.replay.content_type or None)
            answer["Idempotent-Replayed"] = "true"
            return answer
        try:
            return super().handle_exception(exc)  # type: ignore[misc]  # a mixin: the other base class has it
        except Exception:
            self._give_back()
            raise

    def finalize_response(self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]  # a mixin: the other base class has it
        if self._claim is None:
            return response
        if response.status_code >= 400 or response.streaming:
            self._give_back()
        elif isinstance(response, Response):
            response.add_post_render_callback(self._keep)
        else:
            self._keep(response)
        return response

    def _keep(self, response: Any) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            idempotency.finish_sync(claim, response.status_code, response.content, response.get("Content-Type", ""))

    def _give_back(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            idempotency.abandon_sync(claim)
