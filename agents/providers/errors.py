"""Errors of vendor calls, and the one translation of a vendor's status and error type into them.

`retryable`: the same call may succeed a moment later. `opens_breaker`: the vendor or our account there fails, so the
circuit breaker counts it; a caller's own mistake is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from django.conf import settings

from agents.providers import model_rules
from agents.providers.model_rules import Refusal, Rule
from aiagents.core.errors import AppError


class ProviderError(AppError):
    type = "provider_error"
    code = "provider_error"
    status = 502
    retryable = False
    opens_breaker = True
    message = "The model's vendor could not answer."
    # True: the vendor began its answer and may charge for it, so no other model is tried.
    answered = False


class NotConfigured(ProviderError):
    """The installation has no key, connection or simulator for this vendor."""

    code = "provider_not_configured"
    status = 503
    opens_breaker = False
    message = "This model's vendor is not configured."


class ProviderRateLimited(ProviderError):
    """The vendor limits our rate. `retry_after` is the wait it requests, in seconds, or None."""

    code, status, retryable = "provider_rate_limited", 503, True
    message = "The model's vendor is limiting our rate."


class ProviderOverloaded(ProviderError):
    code, status, retryable = "provider_overloaded", 503, True
    message = "The model's vendor is overloaded."


class ProviderUnavailable(ProviderError):
    """The vendor refused the connection, was unreachable, or failed before it answered."""

    code, status, retryable = "provider_unavailable", 502, True
    message = "The model's vendor could not be reached or failed."


class ProviderTimeout(ProviderError):
    """`details.phase` is connect, first_token, idle or total."""

    code, status, retryable = "provider_timeout", 504, True
    message = "The model's vendor took too long."


class ProviderAuthFailed(ProviderError):
    """The vendor refused our key. Its text is never shown, because vendors repeat parts of keys."""

    code = "provider_auth_failed"
    message = "The model's vendor refused our credentials; an administrator must look."


class ProviderQuotaExhausted(ProviderError):
    """Our account is out of credit or quota. Waiting does not help: the connection fails until staff acts."""

    code, status = "provider_quota_exhausted", 503
    message = "Our account with the model's vendor is out of credit or quota."


class ProviderModelMissing(ProviderError):
    """The vendor does not know the model that our catalogue names."""

    code = "provider_model_missing"
    message = "The model's vendor does not offer this model to us."


class ProviderBadRequest(ProviderError):
    """The vendor refused the caller's request. Another try or another vendor would not help."""

    type = "invalid_request"
    code, status, opens_breaker = "provider_bad_request", 400, False
    message = "The model's vendor refused this request."


class ModelCannotTake(ProviderBadRequest):
    """The model, or its vendor, does not take something in the request that others take. No call was made."""

    code = "model_cannot_take"
    message = "The model does not take something in this request."


class ProviderModelRule(ProviderBadRequest):
    """The model does not take this form of request (model_rules.py); another model may. `details.rule` names the rule."""

    code = "provider_model_rule"
    message = "The model does not take this form of request."
    rule: Rule | None = None
    refusal: Refusal | None = None


class ContextTooLong(ProviderBadRequest):
    code = "context_too_long"
    message = "The conversation is longer than this model can read."


class ProviderTruncated(ProviderError):
    """The stream ended without a finish reason. The text so far is kept, but it is incomplete."""

    code, retryable = "provider_truncated", True
    message = "The model's answer was cut off."


class ProviderBadResponse(ProviderError):
    """The answer does not follow the vendor's protocol: HTML, broken JSON, a redirect, an endless event."""

    code, retryable = "provider_bad_response", True
    message = "The model's vendor sent an invalid answer."


# Statuses of vendors' error types inside a stream that began with 200, where no status comes with them.
_STATUS_OF_TYPE = {
    "overloaded_error": 529, "rate_limit_error": 429, "api_error": 500, "authentication_error": 401, "permission_error": 403,
    "invalid_request_error": 400, "not_found_error": 404, "request_too_large": 413, "timeout_error": 504, "billing_error": 402,
    "server_error": 500, "rate_limit_exceeded": 429, "insufficient_quota": 429, "context_length_exceeded": 400,
}  # fmt: skip
_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error", "access_terminated"})
# Two vendors state these only in their text. Status, type or code identify all other errors.
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
    in_answer: bool = False,
    param: str = "",
) -> ProviderError:
    """Return our error for a vendor's refusal. `status` 200: the body names no status, so its type decides.

    `param` is the field of the request that the vendor names; its caller gets it with a refused request only.

    `in_answer`: the error object stood inside an answer with status 200. A model's server wrote its text, not a proxy, so
    the cleaned text is shown for every kind of error but those about our key and our account.
    """
    if status == 200:
        status = _STATUS_OF_TYPE.get(vendor_code, 0) or _STATUS_OF_TYPE.get(vendor_type, 500)
    kind = _class_of(status, {vendor_type, vendor_code}, message)
    rule = None
    if kind in (ProviderBadRequest, ProviderModelMissing):
        rule = model_rules.find(vendor, vendor_code, param, message[:4000])
        kind = ProviderModelRule if rule is not None else kind
    if kind is ProviderRateLimited and should_retry is False and retry_after is None:
        kind = ProviderQuotaExhausted  # a spend limit: the vendor requests no retry
    shown = issubclass(kind, ProviderBadRequest) or (in_answer and not issubclass(kind, ProviderAuthFailed | ProviderQuotaExhausted))
    vendor_text = clean(message, secrets) if shown else ""
    details: dict[str, str | int] = {"vendor_status": status} | ({"vendor": vendor} if vendor else {})
    if vendor_type or vendor_code:
        details["vendor_type"] = clean(vendor_code or vendor_type, secrets)
    wait = retry_after if kind.retryable else None
    text = f"{kind.message} The vendor's message: {vendor_text}" if vendor_text else ""
    field = clean(param, secrets) if param and issubclass(kind, ProviderBadRequest) else None
    error = kind(text or None, details=details, retry_after=wait, param=field)
    if isinstance(error, ProviderModelRule) and rule is not None:
        error.rule, error.refusal = rule, model_rules.Refusal(vendor_code, param, message[:4000])
        error.details["rule"] = rule.name
    return error


def ended_with(reason: str, words: str = "") -> ProviderBadResponse:
    """Return the error for an answer that ended with a finish reason that is a failure, or that we do not know."""
    reason, words = clean(reason), clean(words)
    message = f"The model's vendor ended its answer with {reason!r}."
    return ProviderBadResponse(f"{message} The vendor's message: {words}" if words else message, details={"vendor_type": reason})


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
    """Return a vendor's text fit to be shown: one line, no credential, no link, no markup, at most 300 characters."""
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
    """Return the seconds of Retry-After, a number or a date (or OpenAI's milliseconds); None if invalid or past."""
    exact = _seconds(headers.get("retry-after-ms", ""))
    if exact is not None:
        return exact / 1000
    given = headers.get("retry-after", "")
    seconds = _seconds(given)
    if seconds is not None:
        return seconds
    try:
        when = parsedate_to_datetime(given)
        ahead = ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return ahead if ahead > 0 else None


def retry_after_for_client(seconds: float | None) -> float | None:
    """Return the wait that a vendor requests as it is sent to clients: at most PROVIDER_RETRY_AFTER_MOST seconds."""
    return None if seconds is None else min(seconds, settings.PROVIDER_RETRY_AFTER_MOST)


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """Return whether the vendor recommends a retry (`x-should-retry`); None if it does not state it."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
