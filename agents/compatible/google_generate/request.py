"""Gemini's generateContent body → our request. Source: ai.google.dev/api/generate-content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.compatible import reading
from agents.compatible.google_generate import contents
from agents.compatible.google_generate.schemas import json_schema
from agents.compatible.reading import JSON, invalid
from agents.messages import CompletionRequest, NativeBody, ToolSpec

# Fields that a request may have for a model of any vendor. Safety settings and labels have no effect elsewhere.
_TRANSLATED = {
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "generationConfig",
    "safetySettings",
    "labels",
    "store",
    "serviceTier",
}
_CONFIG = {
    "temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "presencePenalty", "frequencyPenalty", "seed",
    "responseMimeType", "responseSchema", "responseJsonSchema", "thinkingConfig", "mediaResolution", "responseModalities",
}  # fmt: skip
# The main fields, for the OpenAPI document. Google's models get every other field, too.
FIELDS = frozenset(_TRANSLATED)
# They name things in the company's account, or cost more than the catalogue's prices say.
REFUSED = {
    "cachedContent": "it is kept in the company's account; implicit caching works without it",
    "continuationToken": "it names an answer of the company's account",
    "modelArmorConfig": "it names a policy of the company's account",
}
_REFUSED_CONFIG = {
    "speechConfig": "speech has no price here",
    "imageConfig": "images have no price here",
    "translationConfig": "",
    "audioTranscriptionConfig": "",
}
# Tools that Google runs at no price of their own, and those that the client runs. Others have no price here.
_FREE_TOOLS = ("functionDeclarations", "codeExecution", "urlContext", "computerUse")
_EFFORTS = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}
_DETAILS = {"MEDIA_RESOLUTION_LOW": "low", "MEDIA_RESOLUTION_HIGH": "high"}


def read(body: Mapping[str, Any]) -> CompletionRequest:
    """Parse the body; model and form of the answer stand in the path. Raises InvalidRequest (400) that names the invalid field."""
    body = contents.named(body)
    config = contents.named(reading.mapping(body.get("generationConfig") or {}, "generationConfig"))
    _refuse(body, config)
    native_only = reading.NativeOnly()
    native_only.fields(body, _TRANSLATED)
    native_only.fields(config, _CONFIG)
    system = body.get("systemInstruction")
    tools, choice = _tools(body, native_only)
    detail = _DETAILS.get(str(config.get("mediaResolution")), "")
    return CompletionRequest(
        messages=contents.read(reading.items(body, "contents", required=True), detail, native_only),
        system="" if system is None else contents.text_of(system, "systemInstruction", native_only),
        tools=tools,
        tool_choice=choice,
        temperature=reading.number(config, "temperature", 0, 2),
        top_p=reading.number(config, "topP", 0, 1),
        stop=reading.strings(config, "stopSequences", 16),
        seed=reading.integer(config, "seed", -(2**63), 2**63 - 1),
        max_output_tokens=reading.integer(config, "maxOutputTokens", 1, 10_000_000),
        response_format=dict(found) if (found := _format(config)) is not None else None,
        reasoning_effort=_effort(config.get("thinkingConfig")),
        extra=dict(_extra(config)),
        native=NativeBody("google", _native(body, config), "", (), native_only.error),
    )


def for_counting(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body to count: a countTokens body holds contents, or a whole request."""
    whole = contents.named(body).get("generateContentRequest")
    return body if whole is None else reading.mapping(whole, "generateContentRequest")


def _refuse(body: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for what may not be passed on to Google."""
    for fields, refused in ((body, REFUSED), (config, _REFUSED_CONFIG)):
        for name, why in refused.items():
            if fields.get(name) is not None:
                raise reading.unsupported_parameter(name, why)
    if (reading.integer(config, "candidateCount", 1, 8) or 1) > 1:
        raise reading.unsupported_parameter("candidateCount", "send one request for each answer")
    modalities = config.get("responseModalities")
    if modalities is not None and [str(one).upper() for one in _list(modalities)] not in ([], ["TEXT"]):
        raise reading.unsupported_parameter("responseModalities", "only TEXT has a price here")
    if str(body.get("serviceTier") or "standard").lower().removeprefix("service_tier_") not in ("standard", "unspecified"):
        raise invalid("serviceTier", "has no price here; use standard", "unsupported_value")


def _native(body: Mapping[str, Any], config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body for Google, without another vendor's thinking. Nothing is kept there."""
    native = {**body, "contents": [_native_content(one) for one in body["contents"]]} if isinstance(body.get("contents"), list) else body
    native = {**native, "generationConfig": config}
    return {**native, "store": False} if native.get("store") is not None else native


def _native_content(content: Any) -> Any:
    parts = content.get("parts") if isinstance(content, Mapping) else None
    if not isinstance(parts, list) or not any(isinstance(part, Mapping) and contents.sealed(part) is not None for part in parts):
        return content
    return {
        **content,
        "parts": [part for part in parts if not isinstance(part, Mapping) or contents.sealed(part) is None] or [{"text": " "}],
    }


def _tools(body: Mapping[str, Any], native_only: reading.NativeOnly) -> tuple[tuple[ToolSpec, ...], str]:
    """Return the declared functions, and which of them the model may or must call."""
    specs: list[ToolSpec] = []
    for number, given in enumerate(reading.items(body, "tools")):
        at = f"tools[{number}]."
        tool = contents.named(given)
        for name in tool:
            if name not in _FREE_TOOLS:
                raise invalid(at + name[:40], "has no price here", "unsupported_value")
            if name != "functionDeclarations":
                native_only(invalid(at + name, "is not supported by this model", "unsupported_value"))
        specs += [
            _declaration(one, f"{at}functionDeclarations[{n}].") for n, one in enumerate(reading.items(tool, "functionDeclarations", at=at))
        ]
    config = contents.named(reading.mapping(body.get("toolConfig") or {}, "toolConfig"))
    calling = contents.named(reading.mapping(config.get("functionCallingConfig") or {}, "toolConfig.functionCallingConfig"))
    mode = str(calling.get("mode") or "AUTO").upper()
    allowed = reading.strings(calling, "allowedFunctionNames", 1000)
    if mode not in ("AUTO", "ANY", "NONE", "VALIDATED", "MODE_UNSPECIFIED"):
        raise invalid("toolConfig.functionCallingConfig.mode", "must be AUTO, ANY, NONE or VALIDATED")
    if mode != "ANY":
        return tuple(specs), "none" if mode == "NONE" else "auto"
    if allowed:
        specs = [spec for spec in specs if spec.name in allowed]
    return tuple(specs), allowed[0] if len(allowed) == 1 else "required"


def _declaration(given: Mapping[str, Any], at: str) -> ToolSpec:
    tool = contents.named(given)
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}}
    if tool.get("parametersJsonSchema") is not None:
        parameters = reading.mapping(tool["parametersJsonSchema"], at + "parametersJsonSchema")
    elif tool.get("parameters") is not None:
        parameters = json_schema(reading.mapping(tool["parameters"], at + "parameters"), at + "parameters")
    return ToolSpec(
        name=reading.text(tool, "name", required=True, longest=128, at=at),
        description=reading.text(tool, "description", longest=20_000, at=at),
        parameters=dict(parameters),
    )


def _format(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if config.get("responseMimeType") in (None, "text/plain"):
        return None
    if config["responseMimeType"] not in ("application/json", "text/x.enum"):
        raise invalid("generationConfig.responseMimeType", "must be text/plain, application/json or text/x.enum", "unsupported_value")
    schema: Mapping[str, Any] | None = None
    if config.get("responseJsonSchema") is not None:
        schema = reading.mapping(config["responseJsonSchema"], "generationConfig.responseJsonSchema")
    elif config.get("responseSchema") is not None:
        at = "generationConfig.responseSchema"
        schema = json_schema(reading.mapping(config["responseSchema"], at), at)
    if schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "name": "output", "schema": schema, "strict": False}


def _effort(value: Any) -> str | None:
    """Return a level or a budget of thinking as an effort, which the models of all vendors understand."""
    config = contents.named(reading.mapping(value or {}, "generationConfig.thinkingConfig"))
    if config.get("thinkingLevel") is not None:
        level = str(config["thinkingLevel"]).upper().removeprefix("THINKING_LEVEL_")
        if level not in {*_EFFORTS, "UNSPECIFIED"}:
            raise invalid("generationConfig.thinkingConfig.thinkingLevel", f"must be one of {', '.join(_EFFORTS)}")
        return _EFFORTS.get(level)
    budget = reading.integer(config, "thinkingBudget", -1, 10_000_000)
    if budget is None or budget == -1:
        return None
    return "none" if budget == 0 else "low" if budget < 4096 else "medium" if budget < 16384 else "high"


def _extra(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found: JSON = {}
    for name, ours in (("presencePenalty", "presence_penalty"), ("frequencyPenalty", "frequency_penalty")):
        if (value := reading.number(config, name, -2, 2)) is not None:
            found[ours] = value
    if (top_k := reading.number(config, "topK", 1, 1_000_000)) is not None:
        found["top_k"] = int(top_k)
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
