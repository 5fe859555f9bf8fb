"""The OpenAPI document over HTTP. It is public and takes seconds to make, so each process makes each format once."""

from __future__ import annotations

import threading
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request

_made: dict[str, bytes] = {}
_making = threading.Lock()


class SchemaView(SpectacularAPIView):
    """`GET /api/schema/`, as YAML or JSON by Accept or `?format=`. It ignores a requested language or version."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        renderer = request.accepted_renderer
        with _making:
            if renderer.format not in _made:
                generator = self.generator_class(urlconf=self.urlconf, api_version=None, patterns=self.patterns)
                document = generator.get_schema(request=None, public=True)
                rendered = renderer.render(document, renderer.media_type, {})
                _made[renderer.format] = rendered.encode() if isinstance(rendered, str) else rendered
        name = f'inline; filename="aiagents.{renderer.format}"'
        return HttpResponse(_made[renderer.format], content_type=renderer.media_type, headers={"Content-Disposition": name})
