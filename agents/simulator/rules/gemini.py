"""What Google refuses at Gemini's generateContent although the types are right, as one table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agents.simulator.rules.rule import Obj, Rules, objects, refused
from agents.simulator.rules.shapes import Fault
from agents.simulator.seals import signature

RULES = Rules()
_DOCS = "https://ai.google.dev/gemini-api/docs/"
_FROM_3 = re.compile(r"gemini-(?:[3-9]|\d\d)")
_FLASH_37 = re.compile(r"3\.[78]-flash")
_LARGE = re.compile(r"^(?:models/)?gemini-(?:[3-9]|\d\d)[^/]*(?:pro|argon)")
_2_5 = re.compile(r"gemini-2\.5")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
_NO_SIGNATURE = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
_TYPES = re.compile(r"image/(?:png|jpeg|webp|heic|heif)$|application/pdf$|text/|audio/|video/")
_MOST_STOPS = 5


def get(body: Obj, camel: str) -> Any:
    """Return a field by its name in either spelling."""
    return body.get(camel, body.get(re.sub("[A-Z]", lambda found: "_" + found[0].lower(), camel)))


def _contents(body: Obj) -> Iterator[tuple[int, str, list[Obj]]]:
    for number, content in objects(body.get("contents")):
        yield number, str(content.get("role") or "user"), [part for _, part in objects(content.get("parts"))]


def _config(body: Obj) -> Any:
    return get(body, "generationConfig") or {}


def _thinking(body: Obj) -> Any:
    return get(_config(body), "thinkingConfig") or {}


def _declarations(body: Obj) -> list[Obj]:
    return [one for _, tool in objects(body.get("tools")) for _, one in objects(get(tool, "functionDeclarations"))]


def _calls(parts: list[Obj], field: str) -> list[Obj]:
    return [found for part in parts if (found := get(part, field)) is not None]


@RULES.add("contents are not empty", _DOCS + "text-generation")
def _contents_rule(body: Obj) -> Fault | None:
    if not body.get("contents"):
        return refused("contents are required", "contents")
    for number, role, parts in _contents(body):
        if role not in ("user", "model"):
            return refused("Please use a valid role: user, model.", "contents", number, "role")
        if not parts:
            return refused("contents.parts must not be empty.", "contents", number, "parts")
        for at, part in enumerate(parts):
            if not part.keys() - {"thought", "thoughtSignature", "thought_signature"}:
                return refused("required oneof field 'data' must have one initialized field", "contents", number, "parts", at)
    return None


@RULES.add("names of functions", "https://github.com/kaitranntt/ccs/issues/219")
def _names(body: Obj) -> Fault | None:
    declared = [one.get("name") for one in _declarations(body)]
    for number, name in enumerate(declared):
        if not _NAME.fullmatch(str(name)):
            why = "Invalid function name. Must start with a letter or an underscore. Must be a-z, A-Z, 0-9, or contain underscores, dots, "
            return refused(f"{why}colons or dashes, with a maximum length of 64.", "tools", 0, "function_declarations", number, "name")
    if len(set(declared)) < len(declared):
        return refused("Duplicate function declaration found", "tools")
    for number, _, parts in _contents(body):
        for call in (*_calls(parts, "functionCall"), *_calls(parts, "functionResponse")):
            if not call.get("name"):
                return refused("Name cannot be empty.", "contents", number)
    return None


@RULES.add("results follow their calls", "https://github.com/microsoft/vscode/issues/299295")
def _pairs(body: Obj) -> Fault | None:
    turns = [(role, len(_calls(parts, "functionCall")), len(_calls(parts, "functionResponse"))) for _, role, parts in _contents(body)]
    for number, (role, calls, results) in enumerate(turns):
        before = turns[number - 1] if number else ("", 0, 0)
        after = turns[number + 1] if number + 1 < len(turns) else None
        if results and (role != "user" or before[0] != "model" or not before[1]):
            return refused("Please ensure that function response turn comes immediately after a function call turn.", "contents", number)
        if (results and results != before[1]) or (calls and after is not None and after[2] != calls):
            why = "Please ensure that the number of function response parts is equal to the number of function call parts of the "
            return refused(f"{why}function call turn.", "contents", number)
        if calls and number and before[0] != "user":
            why = "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
            return refused(why, "contents", number)
    return None


@RULES.add("calls come back with their signature", _DOCS + "thought-signatures", _FROM_3)
def _signed(body: Obj) -> Fault | None:
    turns = list(_contents(body))
    # Validated is the present turn: what follows the last text of the user.
    starts = [at for at, (_, role, parts) in enumerate(turns) if role == "user" and not _calls(parts, "functionResponse")]
    for number, _, parts in turns[starts[-1] if starts else 0 :]:
        calls = [part for part in parts if get(part, "functionCall") is not None]
        if calls and not get(calls[0], "thoughtSignature"):
            why = "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly."
            return refused(why, "contents", number)
    return None


@RULES.add("signatures are unchanged", _DOCS + "thought-signatures")
def _unchanged(body: Obj) -> Fault | None:
    for number, _, parts in _contents(body):
        for part in parts:
            found, call = get(part, "thoughtSignature"), get(part, "functionCall")
            if found is None or call is None or found in _NO_SIGNATURE:
                continue
            if found != signature(call):
                return refused("Thought signature is not valid", "contents", number)
    return None


@RULES.add("media types", _DOCS + "image-understanding#supported-formats")
def _media(body: Obj) -> Fault | None:
    for number, _, parts in _contents(body):
        inner = [part for result in _calls(parts, "functionResponse") for _, part in objects(result.get("parts"))]
        for blob in _calls([*parts, *inner], "inlineData"):
            if not _TYPES.match(str(get(blob, "mimeType"))):
                return refused(f"Unsupported MIME type: {get(blob, 'mimeType')}", "contents", number)
    return None


@RULES.add("media in results", _DOCS + "function-calling#multimodal", re.compile(r"gemini-[12]"))
def _result_media(body: Obj) -> Fault | None:
    for number, _, parts in _contents(body):
        if any(result.get("parts") for result in _calls(parts, "functionResponse")):
            return refused("Multimodal function responses are not supported for this model.", "contents", number)
    return None


@RULES.add("at most five stop sequences", _DOCS + "text-generation")
def _stops(body: Obj) -> Fault | None:
    stops = get(_config(body), "stopSequences") or []
    if len(stops) > _MOST_STOPS:
        return refused(f"The number of stop sequences must be at most {_MOST_STOPS}.", "generation_config", "stop_sequences")
    if any(not mark for mark in stops):
        return refused("stop_sequences must not be empty.", "generation_config", "stop_sequences")
    return None


@RULES.add("ranges of numbers", "https://ai.google.dev/api/generate-content#generationconfig")
def _ranges(body: Obj) -> Fault | None:
    config = _config(body)
    for name, low, high in (("temperature", 0, 2), ("topP", 0, 1), ("maxOutputTokens", 1, 65_536), ("candidateCount", 1, 8)):
        value = get(config, name)
        if value is not None and not low <= value <= high:
            return refused(f"Unable to submit request because it has a {name} value of {value} but the supported range is {low} to {high}.")
    seed = get(config, "seed")
    if seed is not None and not -(2**31) <= seed < 2**31:
        return refused("Invalid value at 'generation_config.seed' (TYPE_INT32)", "generation_config", "seed")
    return None


@RULES.add("a level of thinking", _DOCS + "gemini-3#thinking_level", re.compile(r"gemini-[12]"))
def _no_level(body: Obj) -> Fault | None:
    return refused("Thinking level is not supported for this model.") if get(_thinking(body), "thinkingLevel") is not None else None


@RULES.add("no thinking before Gemini 2.5", _DOCS + "thinking", re.compile(r"gemini-(?:1|2\.0)"))
def _no_thinking(body: Obj) -> Fault | None:
    return refused("Thinking is not enabled for this model.") if _thinking(body) else None


@RULES.add("a budget of thinking", _DOCS + "thinking", _2_5)
def _budget(body: Obj) -> Fault | None:
    budget = get(_thinking(body), "thinkingBudget")
    if budget is not None and not -1 <= budget <= 32_768:
        return refused(f"The thinking budget {budget} is invalid. Please choose a value between 0 and 32768.")
    return None


@RULES.add("Gemini 2.5 Pro always thinks", _DOCS + "thinking", re.compile(r"gemini-2\.5-pro"))
def _pro(body: Obj) -> Fault | None:
    budget = get(_thinking(body), "thinkingBudget")
    if budget is not None and 0 <= budget < 128:
        return refused(f"Budget {budget} is invalid. This model only works in thinking mode.")
    return None


@RULES.add("a budget of Flash", _DOCS + "thinking", re.compile(r"gemini-2\.5-flash"))
def _flash(body: Obj) -> Fault | None:
    budget = get(_thinking(body), "thinkingBudget")
    if budget is not None and budget > 24_576:
        return refused(f"The thinking budget {budget} is invalid. Please choose a value between 0 and 24576.")
    return None


@RULES.add("the large models have no level MINIMAL", _DOCS + "gemini-3#thinking_level", _LARGE)
def _no_minimal(body: Obj) -> Fault | None:
    if get(_thinking(body), "thinkingLevel") == "MINIMAL":
        return refused("Thinking level MINIMAL is not supported for this model.")
    return None


@RULES.add(
    "Flash of 3.7 and 3.8 has no level MINIMAL", "https://github.com/dzivkovi/video-intel/releases/tag/v2.7.1", re.compile(r"3\.[78]-flash")
)
def _no_minimal_flash(body: Obj) -> Fault | None:
    return _no_minimal(body)


@RULES.add("a level or a budget", _DOCS + "gemini-3#thinking_level", _FROM_3)
def _one(body: Obj) -> Fault | None:
    thinking = _thinking(body)
    if get(thinking, "thinkingLevel") is not None and get(thinking, "thinkingBudget") is not None:
        return refused("You can only set only one of thinking budget and thinking level.")
    return None


@RULES.add("JSON or functions", "https://github.com/googleapis/python-genai/issues/867", re.compile(r"gemini-[12]"))
def _json_or_tools(body: Obj) -> Fault | None:
    if _declarations(body) and get(_config(body), "responseMimeType") == "application/json":
        return refused("Function calling with a response mime type: 'application/json' is unsupported")
    return None


@RULES.add("a schema needs its media type", "https://ai.google.dev/api/generate-content#generationconfig")
def _schema(body: Obj) -> Fault | None:
    config = _config(body)
    if get(config, "responseJsonSchema") is not None and get(config, "responseSchema") is not None:
        return refused("Only one of responseSchema and responseJsonSchema may be set.")
    if (get(config, "responseJsonSchema") or get(config, "responseSchema")) and get(config, "responseMimeType") != "application/json":
        return refused("response_schema needs the response mime type application/json", "generation_config")
    return None


@RULES.add("the choice is a declared function", _DOCS + "function-calling")
def _choice(body: Obj) -> Fault | None:
    calling = get(get(body, "toolConfig") or {}, "functionCallingConfig") or {}
    allowed, declared = get(calling, "allowedFunctionNames") or [], {one.get("name") for one in _declarations(body)}
    if calling.get("mode") == "ANY" and not declared:
        return refused("Function calling config is set without function_declarations.", "tool_config")
    if allowed and calling.get("mode") != "ANY":
        return refused("Allowed function names should be set only when function calling mode is ANY.", "tool_config")
    if unknown := sorted(set(allowed) - declared):
        return refused(f"allowed_function_names contains {unknown[0]}, which is not declared.", "tool_config")
    return None
