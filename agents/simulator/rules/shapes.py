"""Checks JSON against the request types of the vendors' SDKs, strictly: unknown, missing and mistyped fields are faults.

Pydantic's own validators are not enough here. They read a TypedDict's `Iterable` lazily, allow unknown fields, and name
every member of a union where only one was meant.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import enum
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin

import typing_extensions
from pydantic import BaseModel

Kind = Literal["unknown", "missing", "type", "value"]
_UNTYPED = (Any, object)
_WRAPPERS = (
    typing.Annotated, typing.Required, typing.NotRequired, typing.ClassVar, typing_extensions.Required, typing_extensions.NotRequired,
    typing_extensions.ReadOnly,
)  # fmt: skip
# The fields by which the members of a union differ.
_TAGS = ("type", "role")
# Fields that real clients leave out although the type requires them, by the type's name. Codex sends its items again without
# the ids that OpenAI gave them (seen with 0.171.0), and its published description requires no id of a function call.
_LEFT_OUT: Mapping[str, frozenset[str]] = {
    # The AI SDK leaves `strict` out, and OpenAI's published description requires only type and name.
    "FunctionToolParam": frozenset({"strict", "parameters"}),
    "ResponseReasoningItemParam": frozenset({"id"}),
    "ResponseOutputMessageParam": frozenset({"id", "status"}),
    "ResponseOutputTextParam": frozenset({"annotations"}),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at a place in the body. `path` holds keys and positions."""

    path: tuple[str | int, ...]
    kind: Kind
    message: str

    def under(self, step: str | int) -> Fault:
        return replace(self, path=(step, *self.path))


Check = Callable[[Any], Fault | None]


@dataclass(frozen=True, slots=True)
class Object:
    """The fields of an object. `tags` are those by which a union tells its members apart, with their values."""

    fields: Mapping[str, Check]
    required: frozenset[str]
    tags: Mapping[str, tuple[Any, ...]]
    # A null stands for a field that was left out.
    takes_null: bool = False

    def __call__(self, value: Any) -> Fault | None:
        if not isinstance(value, dict):
            return Fault((), "type", "Input should be an object")
        for name in self.required:
            if name not in value:
                return Fault((name,), "missing", "Field required")
        for name, inner in value.items():
            check = self.fields.get(name)
            if check is None:
                return Fault((name,), "unknown", "Extra inputs are not permitted")
            if inner is None and self.takes_null and name not in self.required:
                continue
            if fault := check(inner):
                return fault.under(name)
        return None

    def is_meant(self, value: dict[str, Any]) -> bool:
        """Return whether the fixed values of this object are those of `value`."""
        return all(value[name] in allowed if name in value else name not in self.required for name, allowed in self.tags.items())


@cache
def fields_of(kind: Any) -> Mapping[str, Any]:
    """Return the fields of a TypedDict or of a model with their types, by their names in JSON."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    return typing_extensions.get_type_hints(kind, include_extras=True)


@cache
def check_of(kind: Any) -> Check:
    """Return the check of a type. The check of an object is made at its first use, because types refer to themselves."""
    while get_origin(kind) in _WRAPPERS:
        kind = get_args(kind)[0]
    if isinstance(kind, typing_extensions.TypeAliasType):
        return check_of(kind.__value__)
    origin, inner = get_origin(kind), get_args(kind)
    if kind in _UNTYPED or isinstance(kind, typing.TypeVar):
        return lambda value: None
    if origin in (typing.Union, types.UnionType):
        return _union(inner)
    if origin is Literal:
        return _one_of(inner)
    if origin is not None:
        return _container(origin, inner)
    return _plain(kind)


def _plain(kind: Any) -> Check:
    if typing_extensions.is_typeddict(kind) or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return lambda value: object_of(kind)(value)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _one_of(tuple(member.value for member in kind))
    match kind:
        case types.NoneType:
            return lambda value: None if value is None else Fault((), "type", "Input should be null")
        case _ if kind in (dict, list):
            return _of_type((kind,), "an object" if kind is dict else "a list")
        case _ if kind is bool:
            return _of_type((bool,), "a valid boolean")
        case _ if kind is int:
            return _of_type((int,), "a valid integer")
        case _ if kind is float:
            return _of_type((int, float), "a valid number")
        case _ if kind in (str, datetime.datetime):
            return _of_type((str,), "a valid string")
        case _ if kind is bytes:
            return _base64
    return lambda value: Fault((), "type", "Input has no form in JSON")  # an open file, a path


def _of_type(allowed: tuple[type, ...], name: str) -> Check:
    message = f"Input should be {name}"

    def check(value: Any) -> Fault | None:
        fits = isinstance(value, allowed) and (not isinstance(value, bool) or bool in allowed)
        return None if fits else Fault((), "type", message)

    return check


def _base64(value: Any) -> Fault | None:
    try:
        base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
    except (AttributeError, binascii.Error, ValueError):
        return Fault((), "type", "Input should be base64")
    return None


def _one_of(allowed: tuple[Any, ...]) -> Check:
    message = "Input should be " + " or ".join(repr(one) for one in allowed)

    def check(value: Any) -> Fault | None:
        fits = any(value == one and type(value) is type(one) for one in allowed)
        return None if fits else Fault((), "value", message)

    return check


def _container(origin: Any, inner: tuple[Any, ...]) -> Check:
    if isinstance(origin, type) and issubclass(origin, Mapping):
        of_value = check_of(inner[-1]) if inner else check_of(Any)

        def check_mapping(value: Any) -> Fault | None:
            if not isinstance(value, dict):
                return Fault((), "type", "Input should be an object")
            return next((fault.under(name) for name, one in value.items() if (fault := of_value(one))), None)

        return check_mapping
    if isinstance(origin, type) and not issubclass(origin, Iterable | Sequence):
        return check_of(Any)
    of_item = check_of(inner[0]) if inner else check_of(Any)

    def check_list(value: Any) -> Fault | None:
        if not isinstance(value, list):
            return Fault((), "type", "Input should be a valid list")
        return next((fault.under(number) for number, one in enumerate(value) if (fault := of_item(one))), None)

    return check_list


@cache
def object_of(kind: Any) -> Object:
    """Return the fields of a TypedDict or of a model as checks."""
    hints = fields_of(kind)
    model = isinstance(kind, type) and issubclass(kind, BaseModel)
    if model:
        required = {field.alias or name for name, field in kind.model_fields.items() if field.is_required()}
        checks = {name: check_of(hint) for name, hint in hints.items()}
        checks |= {name: checks[field.alias or name] for name, field in kind.model_fields.items()}
    else:
        required = {name for name, hint in hints.items() if _is_required(kind, name, hint)}
        checks = {name: check_of(hint) for name, hint in hints.items()}
    tags = {name: values for name in _TAGS if name in hints and (values := _fixed(hints[name]))}
    # OpenAI's answers hold nulls for fields whose request types have none, and its clients send answers back.
    required -= _LEFT_OUT.get(kind.__name__, frozenset())
    return Object(checks, frozenset(required), tags, takes_null=kind.__module__.startswith("openai."))


def _is_required(kind: Any, name: str, hint: Any) -> bool:
    # With deferred annotations `__required_keys__` does not know the markers.
    if get_origin(hint) in (typing.Required, typing_extensions.Required):
        return True
    return bool(kind.__total__) and get_origin(hint) not in (typing.NotRequired, typing_extensions.NotRequired)


def _fixed(hint: Any) -> tuple[Any, ...]:
    """Return the values of a field that takes only some texts, None among them if it may be null."""
    kinds = list(_members((hint,)))
    literals = [one for one in kinds if get_origin(one) is Literal]
    others = [one for one in kinds if one is not types.NoneType and one not in literals]
    values = tuple(value for one in literals for value in get_args(one))
    if others or not values or not all(isinstance(one, str) for one in values):
        return ()
    return (*values, None) if len(kinds) > len(literals) else values


def _members(inner: tuple[Any, ...]) -> Iterable[Any]:
    for one in inner:
        while get_origin(one) in _WRAPPERS:
            one = get_args(one)[0]
        if isinstance(one, typing_extensions.TypeAliasType):
            one = one.__value__
        if get_origin(one) in (typing.Union, types.UnionType):
            yield from _members(get_args(one))
        else:
            yield one


def _union(inner: tuple[Any, ...]) -> Check:
    members = list(_members(inner))
    dicts = [one for one in members if typing_extensions.is_typeddict(one)]
    # The SDKs' unions hold the answers' models beside the request types of the same blocks.
    models = [] if dicts else [one for one in members if isinstance(one, type) and issubclass(one, BaseModel)]
    kept = [*dicts, *models]
    others = [check_of(one) for one in members if one not in dicts and not (isinstance(one, type) and issubclass(one, BaseModel))]

    @cache
    def by_type(tag: Any) -> list[Object]:
        """Return the members that `tag` may mean. Unions have up to 40 members."""
        return [one for one in map(object_of, kept) if "type" not in one.tags or tag is None or tag in one.tags["type"]]

    def check(value: Any) -> Fault | None:
        faults = []
        for other in others:
            if (fault := other(value)) is None:
                return None
            faults.append(fault)
        if isinstance(value, dict) and kept:
            tag = value.get("type")
            meant = [one for one in by_type(tag if isinstance(tag, str) else None) if one.is_meant(value)]
            if not meant:
                return _no_member([object_of(one) for one in kept], value)
            faults = []
            for one in meant:
                if (fault := one(value)) is None:
                    return None
                faults.append(fault)
        # The member that fits furthest was meant.
        return max(faults, key=lambda fault: len(fault.path), default=Fault((), "type", "Input should be an object"))

    return check


def _no_member(objects: list[Object], value: dict[str, Any]) -> Fault:
    name = next((name for name in ("type", "role") if any(name in one.tags for one in objects)), "")
    if not name or name not in value:
        return Fault((name,) if name else (), "missing", "Field required")
    known = sorted({str(tag) for one in objects for tag in one.tags.get(name, ())})
    return Fault((name,), "value", f"Input tag {str(value[name])[:60]!r} does not match any of the expected tags: {', '.join(known)}")
