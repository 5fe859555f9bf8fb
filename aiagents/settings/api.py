"""Settings of the REST API and of its OpenAPI document."""

from __future__ import annotations

from aiagents.settings.base import VERSION

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.BearerAuthentication",
        "accounts.authentication.BrowsableSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["aiagents.core.drf.base.JSONRenderer", "aiagents.core.drf.base.BrowsableAPIRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "aiagents.core.drf.base.StrictJSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_PAGINATION_CLASS": "aiagents.core.drf.base.CursorPagination",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.SearchFilter",
        "aiagents.core.drf.base.SafeOrderingFilter",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["aiagents.core.drf.throttling.ApiThrottle"],
    "EXCEPTION_HANDLER": "aiagents.core.drf.base.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "aiagents.core.drf.schema.AutoSchema",
    "PAGE_SIZE": 25,
    "COERCE_DECIMAL_TO_STRING": True,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "aiagents",
    "DESCRIPTION": "Accounts, routed chat, exact costs, agents and tasks in front of every model vendor.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    # Choices are inlined: as components, the many fields named "status" and "role" would need different names.
    "POSTPROCESSING_HOOKS": ["aiagents.openapi.add_endpoints"],
}
