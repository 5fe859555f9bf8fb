"""What a vendor refuses: requests that are not of its SDK's types, and requests that break a documented rule of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.simulator.rules.requests import Request, shape_of
from agents.simulator.rules.rule import Rules
from agents.simulator.rules.shapes import Fault

__all__ = ["Refusal", "load", "refusal", "request_of", "rules_of"]

# The JSON of a vendor's error.
Answer = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The vendor's 400: its JSON body, and the reason in one line."""

    body: Answer
    reason: str


def request_of(path: str, query: str, headers: Mapping[str, str]) -> Request | None:
    """Return which API a path is of; None for a path whose bodies are not checked."""
    if path.endswith("/chat/completions"):
        return Request("chat")
    if path.endswith("/responses"):
        return Request("responses")
    if path.endswith("/embeddings"):
        return Request("embeddings")
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return Request("gemini")
    if path.endswith(("/messages", "/messages/count_tokens")):
        beta = "anthropic-beta" in headers or "beta=true" in query
        return Request("messages" if path.endswith("/messages") else "count_tokens", headers.get("anthropic-version", ""), beta)
    return None


def refusal(request: Request, model: str, body: Any, *, future: bool = False) -> Refusal | None:
    """Return the vendor's refusal of a body, None if it takes it. `future` lets unknown fields through."""
    shape = shape_of(request)
    fault = shape(body)
    while future and fault is not None and fault.kind == "unknown":
        body = _without(body, fault.path)
        fault = shape(body)
    if fault is None:
        fault = next((found for rule in rules_of(request.api) if rule.of_model(model) and (found := rule.find(body))), None)
    if fault is None:
        return None
    write = {"gemini": _google, "messages": _anthropic, "count_tokens": _anthropic}.get(request.api, _openai)
    return Refusal(write(fault), f"{_dotted(fault)}: {fault.message}")


def load() -> None:
    """Load the SDKs' types, so that the first request of each vendor need not wait for them."""
    for api in ("chat", "responses", "messages", "gemini"):
        shape_of(Request(api))


def rules_of(api: str) -> Rules:
    """Return the rules of an API."""
    from agents.simulator.rules import anthropic, gemini, openai_chat, openai_responses

    tables = {"chat": openai_chat, "responses": openai_responses, "messages": anthropic, "count_tokens": anthropic, "gemini": gemini}
    return tables[api].RULES if api in tables else Rules()


def _without(body: Any, path: tuple[str | int, ...]) -> Any:
    """Return a copy without the field at `path`."""
    first, *rest = path
    if not rest:
        return {name: value for name, value in body.items() if name != first}
    changed = body.copy()
    changed[first] = _without(body[first], tuple(rest))
    return changed


def _dotted(fault: Fault) -> str:
    return ".".join(map(str, fault.path))


def _brackets(fault: Fault) -> str:
    out = ""
    for step in fault.path:
        out += f"[{step}]" if isinstance(step, int) else f".{step}" if out else step
    return out


def _anthropic(fault: Fault) -> Answer:
    message = f"{_dotted(fault)}: {fault.message}" if fault.path else fault.message
    return {"type": "error", "error": {"type": "invalid_request_error", "message": message}, "request_id": "req_sim"}


def _openai(fault: Fault) -> Answer:
    param = _brackets(fault) or None
    message, code = {
        "unknown": (f"Unknown parameter: '{param}'.", "unknown_parameter"),
        "missing": (f"Missing required parameter: '{param}'.", "missing_required_parameter"),
        "type": (f"Invalid type for '{param}': {fault.message}.", "invalid_type"),
    }.get(fault.kind, (f"Invalid '{param}': {fault.message}" if param else fault.message, "invalid_value"))
    if "not supported" in fault.message:
        message, code = fault.message, "unsupported_value"
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def _google(fault: Fault) -> Answer:
    where = _brackets(fault)
    message = f'Invalid JSON payload received. Unknown name "{where}": Cannot find field.' if fault.kind == "unknown" else fault.message
    if fault.kind in ("missing", "type"):
        message = f"Invalid value at '{where}': {fault.message}"
    return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
