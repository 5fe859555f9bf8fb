"""Middleware of every Django view: the request's id, limits, headers, and one line in the access log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from aiagents.core.error_mapping import error_of
from aiagents.core.errors import AppError, InvalidRequest, RateLimited
from aiagents.core.http import body_limits, content_coding, headers, hosts
from aiagents.core.http.client_address import client_ip
from aiagents.core.http.error_views import error_of_status, is_api, render
from aiagents.core.live import credential_watch
from aiagents.core.logs import context
from aiagents.core.logs.access import log_access
from aiagents.core.metrics.counters import DENIED
from aiagents.core.ratelimit import buckets
from aiagents.core.ratelimit import sliding_window as ratelimit
from aiagents.core.ratelimit.sliding_window import Verdict

LIMITED_PATHS = ("/api/", "/v1/")
# The attribute of Django's request with the verdict of `ApiThrottle`.
VERDICT = "rate_verdict"


class _Middleware:
    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if iscoroutinefunction(self):
            return self.asynchronously(request)  # type: ignore[unreachable,attr-defined]  # mypy takes the check for a type
        return self.synchronously(request)

    def synchronously(self, request: HttpRequest) -> HttpResponseBase:
        raise NotImplementedError

    async def asynchronously(self, request: HttpRequest) -> HttpResponseBase:
        raise NotImplementedError


class RequestContextMiddleware(_Middleware):
    """The outermost middleware: it handles every response, also those that no view made."""

    def synchronously(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        refused = _begin(request)
        return end_request(request, _limit_sync(request, refused) if refused else self.get_response(request), begun)

    async def asynchronously(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        refused = _begin(request)
        return end_request(request, await _limit(request, refused) if refused else await self.get_response(request), begun)


def _begin(request: HttpRequest) -> HttpResponse | None:
    """Set the request's id and address. Returns an error response for an ambiguous or oversized request."""
    request.request_id = context.accept_request_id(request.META.get("HTTP_X_REQUEST_ID"))  # type: ignore[attr-defined]  # our attribute of the request
    context.user_id.set("")
    forwarded = {"x-forwarded-for": request.META.get("HTTP_X_FORWARDED_FOR", "")}
    request.client_ip = client_ip(request.META.get("REMOTE_ADDR") or "", forwarded)  # type: ignore[attr-defined]  # our attribute of the request
    try:
        _check(request)
    except AppError as error:
        return render(request, error)
    return None


def _check(request: HttpRequest) -> None:
    scope = getattr(request, "scope", None)
    raw_path = (scope or {}).get("raw_path") or request.path.encode("utf-8", "surrogatepass")
    headers.check_target(raw_path, request.META.get("QUERY_STRING", "").encode("latin-1", "replace"))
    if "\x00" in request.path:
        raise InvalidRequest("The path may not contain NUL.", code="invalid_text", param="path")
    if scope is not None:
        headers.check(scope["headers"])
        hosts.check(headers.read(scope["headers"]), request.path)
        if request.path in hosts.PROBES:
            # Probes may use an IP address; Django's own middleware would require a name.
            request.get_host = lambda: request.META["HTTP_HOST"]  # type: ignore[method-assign]  # replaced for this request alone
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdigit():
        raise InvalidRequest("Content-Length is not a number.", param="content-length")
    if len(length) > 18 or int(length) > body_limits.small():
        body_limits.check_announced(length, body_limits.of_view(request.path_info))
    if scope is not None and scope.get(body_limits.CUT):
        raise body_limits.too_large(scope[body_limits.CUT])


def end_request(request: HttpRequest, response: HttpResponseBase, begun: float) -> HttpResponseBase:
    api = is_api(request.path)
    if api and response.status_code >= 400 and not response.streaming and not _in_shape(response):
        bare, response = response, render(request, error_of_status(response.status_code))
        for name in (
            "Allow",
            "Retry-After",
            "WWW-Authenticate",
            "Access-Control-Allow-Origin",
            "Access-Control-Expose-Headers",
            "Vary",
            *_LIMITS,
        ):
            if name in bare:
                response[name] = bare[name]
    response["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]  # our attribute of the request
    html = response.get("Content-Type", "").startswith("text/html")
    for header, value in headers.security():
        if header != b"content-security-policy":
            response.setdefault(header.decode(), value.decode())
        elif api and not html:
            response["Content-Security-Policy"] = value.decode()
    response.setdefault("Cache-Control", "no-store")
    credential_watch.watch_response(request, response)
    size = 0 if response.streaming else len(response.content)  # type: ignore[attr-defined]  # only a streaming response lacks it
    seconds = time.perf_counter() - begun
    log_access(request.method or "", request.path, response.status_code, seconds, size, request.client_ip)  # type: ignore[attr-defined]  # our attribute of the request
    if response.status_code in (401, 402, 403, 429):
        DENIED.inc()
    return response


def _in_shape(response: HttpResponseBase) -> bool:
    """Whether the response is JSON, or was rendered by DRF in the negotiated format."""
    return response.get("Content-Type", "").startswith("application/json") or hasattr(response, "accepted_renderer")


_LIMITS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


class ApiRateLimitMiddleware(_Middleware):
    """Adds the rate limit headers. It counts requests that reached no throttle (404, 401, 403)."""

    def synchronously(self, request: HttpRequest) -> HttpResponseBase:
        return _limit_sync(request, self.get_response(request))

    async def asynchronously(self, request: HttpRequest) -> HttpResponseBase:
        return await _limit(request, await self.get_response(request))


def _limit_sync(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if not request.path.startswith(LIMITED_PATHS):
        return response
    verdict = getattr(request, VERDICT, None) or ratelimit.hit_all_sync(buckets.rules(_principal(request), request.client_ip))  # type: ignore[attr-defined]  # our attribute of the request
    return _with_verdict(request, response, verdict)


async def _limit(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if not request.path.startswith(LIMITED_PATHS):
        return response
    verdict = getattr(request, VERDICT, None) or await ratelimit.hit_all(buckets.rules(_principal(request), request.client_ip))  # type: ignore[attr-defined]  # our attribute of the request
    return _with_verdict(request, response, verdict)


def _principal(request: HttpRequest) -> Any:
    """The principal that DRF authenticated, if any."""
    found = getattr(request, "auth", None)
    return found if hasattr(found, "user_id") and hasattr(found, "rate_limit") else None


def _with_verdict(request: HttpRequest, response: HttpResponseBase, verdict: Verdict) -> HttpResponseBase:
    if verdict.retry_after is not None and response.status_code != 429:
        response = render(request, RateLimited(retry_after=verdict.retry_after))
    for name, value in verdict.headers().items():
        response[name] = value
    return response


class UnpackingMiddleware(_Middleware):
    """The innermost middleware: replaces a compressed body by the unpacked one, within the size limit of its view."""

    def synchronously(self, request: HttpRequest) -> HttpResponseBase:
        try:
            if coding := request.META.get("HTTP_CONTENT_ENCODING"):
                _replace_body(request, content_coding.unpack(request.body, coding, body_limits.of_view(request.path_info)))
        except (AppError, RequestDataTooBig) as exc:
            return render(request, error_of(exc) or AppError())
        return self.get_response(request)

    async def asynchronously(self, request: HttpRequest) -> HttpResponseBase:
        try:
            if coding := request.META.get("HTTP_CONTENT_ENCODING"):
                limit = body_limits.of_view(request.path_info)
                _replace_body(request, await asyncio.to_thread(content_coding.unpack, request.body, coding, limit))
        except (AppError, RequestDataTooBig) as exc:
            return render(request, error_of(exc) or AppError())
        return await self.get_response(request)


def _replace_body(request: HttpRequest, body: bytes) -> None:
    """Make Django and DRF read `body` as if the client had sent it without a coding."""
    request._body, request._stream = body, BytesIO(body)  # type: ignore[attr-defined]  # where Django keeps them
    request.META["CONTENT_LENGTH"] = str(len(body))
    del request.META["HTTP_CONTENT_ENCODING"]
    request.__dict__.pop("headers", None)  # computed from META
