"""Serializers made of TypedDicts, so that one type is both what a function returns and what the OpenAPI document says.

Only for responses whose dicts go out as they are: nothing is validated. `Annotated` adds what a type cannot say: a text is
the description, a class of DRF's fields its format.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from django.db import models
from rest_framework import serializers

Field = serializers.Field[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Choices:
    """Says which values a string may have: those of Django's TextChoices, under the name that the document gives them."""

    of: type[models.TextChoices]


# Strings with a format, for TypedDicts.
Time = Annotated[str, serializers.DateTimeField]
Id = Annotated[str, serializers.UUIDField]
_FIELDS: dict[Any, type[Field]] = {
    str: serializers.CharField,
    bool: serializers.BooleanField,
    int: serializers.IntegerField,
    float: serializers.FloatField,
}


@cache
def serializer_of(shape: Any) -> type[serializers.Serializer]:
    """Return the serializer that describes a TypedDict. It is named `<TypedDict>Serializer` and has its docstring.

    Raises TypeError for a type that it does not know.
    """
    fields = {name: _field(hint) for name, hint in get_type_hints(shape, include_extras=True).items()}
    names = {"__doc__": shape.__doc__ if shape.__doc__ != dict.__doc__ else "", "__module__": shape.__module__}
    return type(f"{shape.__name__}Serializer", (serializers.Serializer,), fields | names)


def _field(hint: Any, **options: Any) -> Field:
    origin = get_origin(hint)
    if origin is Annotated:
        hint, *more = get_args(hint)
        for one in more:
            options |= _options(one)
        return _field(hint, **options)
    if origin in (Union, UnionType):
        inner = [one for one in get_args(hint) if one is not NoneType]
        if len(inner) == 1:
            return _field(inner[0], **options, allow_null=True)
    if is_typeddict(hint):
        return serializer_of(hint)(**options)
    if origin is list:
        (item,) = get_args(hint)
        return serializer_of(item)(many=True, **options) if is_typeddict(item) else serializers.ListField(child=_field(item), **options)
    if origin is Literal:
        return serializers.ChoiceField(choices=list(get_args(hint)), **options)
    if hint is dict or origin is dict:
        return serializers.DictField(**options)
    if "choices" in options:
        return serializers.ChoiceField(**options)
    field = options.pop("of", None) or _FIELDS.get(hint)
    if field is None:
        raise TypeError(f"{hint!r} has no field of a serializer.")
    return field(**options)


def _options(metadata: Any) -> dict[str, Any]:
    """The options of a field for what `Annotated` adds to its type."""
    if isinstance(metadata, str):
        return {"help_text": metadata}
    return {"choices": metadata.of.choices} if isinstance(metadata, Choices) else {"of": metadata}
