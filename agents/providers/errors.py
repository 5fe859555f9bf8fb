"""What can go wrong with a vendor, as the product says it; and the one reading of a vendor's status and error type.

`retryable`: the same call may succeed a moment later. `opens_breaker`: it says something about the vendor or our account
there, so the router should know; a caller's own mistake does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from django.conf import settings

from aiagents.core.errors import AppError


class ProviderError(AppError):
    type = "provider_error"
    code = "provider_error"
    status = 502
    retryable = False
    opens_breaker = True
    message = "The model's vendor could not answer."
    # True: the vendor had begun its answer and may charge for it, so no other call takes its place.
    answered = False


class NotConfigured(ProviderError):
    """No key, no connection, no simulator for this vendor."""

    code = "provider_not_configured"
    status = 503
    opens_breaker = False
    message = "This model's vendor is not configured."


class ProviderRateLimited(ProviderError):
    """The vendor asked us to slow down; `retry_after` is its wish in seconds, if it had one."""

    code, status, retryable = "provider_rate_limited", 503, True
    message = "The model's vendor is limiting our rate."


class ProviderOverloaded(ProviderError):
    code, status, retryable = "provider_overloaded", 503, True
    message = "The model's vendor is overloaded."


class ProviderUnavailable(ProviderError):
    """Refused, unreachable, or failing before it answered."""

    code, status, retryable = "provider_unavailable", 502, True
    message = "The model's vendor could not be reached or failed."


class ProviderTimeout(ProviderError):
    """`details.phase` is connect, first_token, idle or total."""

    code, status, retryable = "provider_timeout", 504, True
    message = "The model's vendor took too long."


class ProviderAuthFailed(ProviderError):
    """Our key was refused. The vendor's text is never shown: vendors repeat parts of keys."""

    code = "provider_auth_failed"
    message = "The model's vendor refused our credentials; an administrator must look."


class ProviderQuotaExhausted(ProviderError):
    """The account is out of credit or quota: waiting does not help, this connection is out until staff acts."""

    code, status = "provider_quota_exhausted", 503
    message = "Our account with the model's vendor is out of credit or quota."


class ProviderModelMissing(ProviderError):
    """The vendor does not know the model that our catalogue names."""

    code = "provider_model_missing"
    message = "The model's vendor does not offer this model to us."


class ProviderBadRequest(ProviderError):
    """The vendor refused what the caller asked for: another try or another vendor is no remedy."""

    type = "invalid_request"
    code, status, opens_breaker = "provider_bad_request", 400, False
    message = "The model's vendor refused this request."


class ContextTooLong(ProviderBadRequest):
    code = "context_too_long"
    message = "The conversation is longer than this model can read."


class ProviderTruncated(ProviderError):
    """The stream ended without the vendor's terminal mark: what came is kept, but it is not whole."""

    code, retryable = "provider_truncated", True
    message = "The model's answer was cut off."


class ProviderBadResponse(ProviderError):
    """Not the vendor's wire: HTML, broken JSON, a redirect, an event without end."""

    code, retryable = "provider_bad_response", True
    message = "The model's vendor sent something that is no answer."


# Vendors' error types where no status comes with them: inside a stream that began with 200.
_STATUS_OF_TYPE = {
    "overloaded_error": 529, "rate_limit_error": 429, "api_error": 500, "authentication_error": 401, "permission_error": 403,
    "invalid_request_error": 400, "not_found_error": 404, "request_too_large": 413, "timeout_error": 504, "billing_error": 402,
    "server_error": 500, "rate_limit_exceeded": 429, "insufficient_quota": 429, "context_length_exceeded": 400,
}  # fmt: skip
_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error", "access_terminated"})
# Two vendors say these only in words; everything else is told by status, type or code.
_TOO_LONG = re.compile(r"prompt is too long|input token count \(?\d+\)? exceeds|maximum context length|exceeds? the context window", re.I)
_NO_CREDIT = re.compile(r"credit balance is too low|spend(ing)? limit", re.I)


def error_from_status(
    status: int,
    *,
    vendor: str,
    vendor_type: str = "",
    vendor_code: str = "",
    message: str = "",
    retry_after: float | None = None,
    should_retry: bool | None = None,
    secrets: tuple[str, ...] = (),
) -> ProviderError:
    """The one reading of a vendor's refusal. `status` 200 is an error event inside a stream: then its type decides."""
    if status == 200:
        status = _STATUS_OF_TYPE.get(vendor_code, 0) or _STATUS_OF_TYPE.get(vendor_type, 500)
    kind = _class_of(status, {vendor_type, vendor_code}, message)
    if kind is ProviderRateLimited and should_retry is False and retry_after is None:
        kind = ProviderQuotaExhausted  # a spend limit: the vendor asks not to come back
    said = clean(message, secrets) if issubclass(kind, ProviderBadRequest) else ""
    details: dict[str, str | int] = {"vendor_status": status} | ({"vendor": vendor} if vendor else {})
    if vendor_type or vendor_code:
        details["vendor_type"] = clean(vendor_code or vendor_type, secrets)
    wait = retry_after if kind.retryable else None
    return kind(f"{kind.message} It said: {said}" if said else None, details=details, retry_after=wait)


def _class_of(status: int, kinds: set[str], message: str) -> type[ProviderError]:
    if status == 402 or kinds & _QUOTA or (status in (400, 403, 429) and _NO_CREDIT.search(message)):
        return ProviderQuotaExhausted
    if "API_KEY_INVALID" in kinds or status in (401, 403, 407):
        return ProviderAuthFailed
    if "context_length_exceeded" in kinds or (status in (400, 413, 422) and _TOO_LONG.search(message)):
        return ContextTooLong
    if status == 404:
        return ProviderModelMissing
    if status == 429:
        return ProviderRateLimited
    if status in (503, 529):
        return ProviderOverloaded
    if status in (408, 504):
        return ProviderTimeout
    if status in (409, 425) or status >= 500:
        return ProviderUnavailable
    return ProviderBadRequest if status >= 400 else ProviderBadResponse


_CREDENTIAL = re.compile(
    r"(?i)\b(?:sk|pk|rk|gsk|xai|aia|key|ghp|hf)[-_][\w*.…-]{4,}|\bAIza[\w*-]{4,}|\bya29\.[\w.*-]+|\b(?:bearer|basic)\s+[\w.~+/=*-]{6,}"
)
_LINK = re.compile(r"(?<![a-z0-9+.-])[a-z0-9+.-]++://\S+", re.I)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def clean(text: str, secrets: tuple[str, ...] = ()) -> str:
    """A vendor's words fit to be shown: one line, no credential, no address, no markup, at most 300 characters."""
    text = text[:4000]
    for secret in secrets:
        if len(secret) > 3:
            text = text.replace(secret, "[removed]")
    text = _LINK.sub("[link]", _CREDENTIAL.sub("[removed]", text))
    text = " ".join(_UNPRINTABLE.sub(" ", text).split())
    if text.startswith(("<", "{", "[{")):
        return ""
    return text if len(text) <= 300 else text[:299] + "…"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from Retry-After as a number or a date (or OpenAI's milliseconds); None for nonsense and for the past."""
    exact = _number(headers.get("retry-after-ms", ""))
    if exact is not None:
        return exact / 1000
    given = headers.get("retry-after", "")
    seconds = _number(given)
    if seconds is not None:
        return seconds
    try:
        when = parsedate_to_datetime(given)
        ahead = ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return ahead if ahead > 0 else None


def passed_on(seconds: float | None) -> float | None:
    """The wait that a vendor asks for, as it goes to a client: at most PROVIDER_RETRY_AFTER_MOST seconds."""
    return None if seconds is None else min(seconds, settings.PROVIDER_RETRY_AFTER_MOST)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What the vendor itself says about another try, where it says so."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
