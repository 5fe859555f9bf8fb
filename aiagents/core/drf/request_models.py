"""Request models in the OpenAPI document: each model is a component, and operations refer to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from aiagents.core.validation import RequestModel

JSON = dict[str, Any]
_COMPONENTS = "#/components/schemas/"


class _WithoutTitles(GenerateJsonSchema):
    """pydantic's generator without the titles, which only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def reference(model: type[RequestModel]) -> JSON:
    """The schema that refers to the model's component."""
    return {"$ref": _COMPONENTS + model.__name__}


def body(model: type[RequestModel]) -> JSON:
    """The `requestBody` of an operation that reads the model. It may be absent if no field is required."""
    required = any(field.is_required() for field in model.model_fields.values())
    return {"required": required, "content": {"application/json": {"schema": reference(model)}}}


def every(base: type[RequestModel] = RequestModel) -> Iterator[type[RequestModel]]:
    """All request models that are imported."""
    for model in base.__subclasses__():
        yield model
        yield from every(model)


def referred_to(document: JSON) -> list[type[RequestModel]]:
    """The request models that the document refers to."""
    names = set(_references(document))
    return [model for model in every() if reference(model)["$ref"] in names]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(found := value.get("$ref"), str):
            yield found
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _references(inner)


def components(models: Iterable[type[RequestModel]]) -> dict[str, JSON]:
    """The schemas of the models and of those inside them, by name. Raises ValueError if two models have one name."""
    wanted = sorted(set(models), key=lambda model: model.__name__)
    _, schema = models_json_schema(
        [(model, "validation") for model in wanted], ref_template=_COMPONENTS + "{model}", schema_generator=_WithoutTitles
    )
    found = {name: {key: value for key, value in one.items() if key != "title"} for name, one in schema.get("$defs", {}).items()}
    if missing := [model.__name__ for model in wanted if model.__name__ not in found]:
        raise ValueError(f"Two request models have one name: {', '.join(missing)}.")
    return found
