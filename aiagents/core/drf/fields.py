"""Serializers and fields that refuse unknown input."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class BoundedListField(serializers.ListField):
    """A list whose length is checked before its items. DRF validates 100,000 items first, which takes seconds."""

    def to_internal_value(self, data: Any) -> Any:
        if self.max_length is not None and isinstance(data, list | tuple) and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return super().to_internal_value(data)


class StrictFieldsMixin:
    """Answers 400 for a field that does not exist or cannot be set; DRF would silently ignore it. Put it first.

    class ProfileSerializer(StrictFieldsMixin, serializers.ModelSerializer): ...
    """

    def to_internal_value(self, data: Any) -> Any:
        if hasattr(data, "keys"):
            fields = self.fields  # type: ignore[attr-defined]  # a mixin: the other base class has it
            errors = {}
            for name in data:
                field = fields.get(name)
                if field is None or isinstance(field, serializers.HiddenField):
                    if name != "csrfmiddlewaretoken":  # sent by the browsable API's forms
                        errors[str(name)[:100]] = ["There is no such field."]
                elif field.read_only:
                    errors[name] = ["This field cannot be set."]
            if errors:
                raise serializers.ValidationError(errors)
        return super().to_internal_value(data)  # type: ignore[misc]  # a mixin: the other base class has it
