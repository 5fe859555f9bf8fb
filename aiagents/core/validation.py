"""Request bodies as pydantic models: one definition for validation and for the OpenAPI document.

The JSON is parsed before, by `aiagents.core.jsonio`. A wrong body costs no more than a right one: a list stops at its
first wrong item (`fail_fast`), and of unknown fields only the first are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
)
from pydantic_core import core_schema

from aiagents.core.errors import InvalidRequest

MOST_ERRORS = 20
# No model inside a body has so many fields. `parse` looks at no more of a body's unknown ones; a union's `member` refuses
# an object with more.
MOST_FIELDS = 20
# Characters of an unknown field's name that an error repeats.
_MOST_NAME = 100
# The sentence for each type of pydantic's errors. Its own messages speak of Python, and some repeat the input.
SENTENCES = {
    "missing": "This field is required.",
    "extra_forbidden": "Unknown field.",
    "string_type": "Must be a text.",
    "string_too_short": "Must have at least {min_length} characters.",
    "string_too_long": "Must have at most {max_length} characters.",
    "string_pattern_mismatch": "Holds a character that is not allowed here.",
    "int_type": "Must be a whole number.",
    "float_type": "Must be a number.",
    "bool_type": "Must be true or false.",
    "greater_than_equal": "Must be at least {ge}.",
    "less_than_equal": "Must be at most {le}.",
    "literal_error": "Must be {expected}.",
    "uuid_type": "Must be a UUID.",
    "uuid_parsing": "Must be a UUID.",
    "list_type": "Must be a list.",
    "tuple_type": "Must be a list.",
    "too_short": "Must have at least {min_length} items.",
    "too_long": "Must have at most {max_length} items.",
    "dict_type": "Must be an object.",
    "model_type": "Must be an object.",
    "value_error": "{error}",
}
# The type of the error of a value that fits no member of a union.
_NO_MEMBER = "no_member"
Id = Annotated[UUID, Field(strict=False)]  # JSON has UUIDs as texts
Model = TypeVar("Model", bound="RequestModel")


class RequestModel(BaseModel):
    """A JSON object from a client, or one inside it. Unknown fields are refused, and no value is converted silently."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class NotBlank:
    """Marks a text that must have a character which is no white space, as in `Annotated[str, NotBlank()]`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "minLength": 1, "pattern": r"\S"}

    @staticmethod
    def check(text: str) -> str:
        if not text or text.isspace():
            raise ValueError("Must not be empty.")
        return text


def _without_fraction(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Marks an integer that may be written as 5.0, which is the same number in JSON Schema.
Whole = BeforeValidator(_without_fraction)


def union(member: Callable[[Any], str | None], sentence: str) -> Discriminator:
    """Choose a union's member for a value by its tag; `sentence` is the error for a value without one."""
    return Discriminator(member, custom_error_type=_NO_MEMBER, custom_error_message=sentence)


def names(model: type[RequestModel]) -> frozenset[str]:
    """The names of the model's fields as clients write them."""
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def parse(model: type[Model], value: Any) -> Model:
    """The client's JSON value as `model`. Raises InvalidRequest; its `details` name at most MOST_ERRORS fields."""
    try:
        return model.model_validate(_with_few_unknown(model, value) if isinstance(value, dict) and len(value) > MOST_FIELDS else value)
    except ValidationError as exc:
        raise invalid(exc, value) from exc


def _with_few_unknown(model: type[RequestModel], value: dict[str, Any]) -> dict[str, Any]:
    """The object with only the first of its unknown fields: pydantic makes an error of each."""
    known = names(model)
    unknown = islice((name for name in value if name not in known), MOST_ERRORS)
    return {name: value[name] for name in known if name in value} | {name: value[name] for name in unknown}


def invalid(exc: ValidationError, value: Any) -> InvalidRequest:
    """The error for a `value` that pydantic refused.

    `param` and the keys of `details` are fields of the body. Where the wrong value is inside a field, the sentence
    begins with its place there, such as `2.media_type: `. The value itself is never repeated.
    """
    details: dict[str, list[str]] = {}
    message = ""
    for error in islice(exc.errors(include_url=False, include_input=False), MOST_ERRORS):
        field, *inner = _path(error["loc"], error["type"], value) or ["body"]
        sentence = error["msg"] if error["type"] == _NO_MEMBER else _sentence(error["type"], error.get("ctx", {}))
        message = message or f"{'.'.join([field, *inner])}: {sentence}"
        details.setdefault(field, []).append(f"{'.'.join(inner)}: {sentence}" if inner else sentence)
    return InvalidRequest(message, param=next(iter(details)), details=details)


def _path(location: Sequence[int | str], kind: str, value: Any) -> list[str]:
    """The steps to the wrong value. Left out are the names of a union's members, which pydantic has among them."""
    path: list[str] = []
    for index, step in enumerate(location):
        inside = step in value if isinstance(value, dict) else isinstance(value, list) and isinstance(step, int)
        if inside:
            value = value[step]
        if inside or (kind == "missing" and index == len(location) - 1):
            path.append(str(step)[:_MOST_NAME])
    return path


def _sentence(kind: str, context: dict[str, Any]) -> str:
    sentence = SENTENCES.get(kind, "Not valid.")
    for name, value in context.items():
        sentence = sentence.replace(f"{{{name}}}", str(_without_fraction(value)))
    return sentence
