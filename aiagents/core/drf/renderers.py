"""Renderers of DRF's views: JSON, and DRF's browsable API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.fields import Field, empty
from rest_framework.renderers import BrowsableAPIRenderer as DRFBrowsableAPIRenderer
from rest_framework.renderers import JSONRenderer as DRFJSONRenderer
from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder

from aiagents.core import jsonio

_encoder = JSONEncoder()


class JSONRenderer(DRFJSONRenderer):
    """JSON as aiagents/core/jsonio.py writes it, and the further types of DRF's encoder."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None) -> bytes:
        if data is None:
            return b""
        # The browsable API sets an indent.
        pretty = bool((renderer_context or {}).get("indent"))
        return jsonio.dumps(data, default=_default, indent=pretty)


class BodyRenderer(JSONRenderer):
    """A serializer's data as an example request body.

    An existing object is shown without read-only fields and nulls. A new object shows its required fields and defaults.
    """

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None) -> bytes:
        serializer = getattr(data, "serializer", None)
        if serializer is None:
            return super().render({}, accepted_media_type, renderer_context)
        fields = {name: field for name, field in serializer.fields.items() if not field.read_only and name in data}
        if serializer.instance is None:
            body = {name: data[name] if field.default is empty else field.default for name, field in fields.items() if _shown(field)}
            body = {name: "" if value is None else value for name, value in body.items()}
        else:
            body = _without_none({name: data[name] for name in fields})
        return super().render(body, accepted_media_type, renderer_context)


class BrowsableAPIRenderer(DRFBrowsableAPIRenderer):
    """DRF's browsable API. Request bodies are typed as JSON: forms cannot express nested objects or absent fields.

    Its templates use style attributes, which the content security policy allows on these pages only.
    """

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None) -> Any:
        page = super().render(data, accepted_media_type, renderer_context)
        if renderer_context is not None:
            renderer_context["response"]._csp_update = {"style-src-attr": ["'unsafe-inline'"]}
        return page

    def get_context(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        # If Pygments is installed, DRF would write its colours into the page as a style element.
        return super().get_context(*args, **kwargs) | {"code_style": ""}

    def get_rendered_html_form(self, data: Any, view: Any, method: str, request: Request) -> Any:
        return super().get_rendered_html_form(data, view, method, request) if method in ("DELETE", "OPTIONS") else None

    def get_filter_form(self, data: Any, view: Any, request: Request) -> Any:
        from rest_framework.generics import GenericAPIView  # its module reads the settings, which name this class

        # A view without a queryset has no filters; DRF would fail with 500 when it renders their form.
        made = getattr(type(view), "get_queryset", GenericAPIView.get_queryset) is not GenericAPIView.get_queryset
        return super().get_filter_form(data, view, request) if made or getattr(view, "queryset", None) is not None else None


def _default(value: Any) -> Any:
    try:
        return jsonio._default(value)
    except TypeError:
        return _encoder.default(value)


def _shown(field: Field) -> bool:
    return field.required or (field.default is not empty and not callable(field.default) and field.default not in (None, ""))


def _without_none(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: _without_none(one) for name, one in value.items() if one is not None}
