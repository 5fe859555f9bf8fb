"""DRF's edges in the contract's shape (placeholder until the web-plumbing room is built)."""

from rest_framework import filters, pagination, parsers, renderers


class JSONRenderer(renderers.JSONRenderer):
    pass


class StrictJSONParser(parsers.JSONParser):
    pass


class CursorPagination(pagination.CursorPagination):
    ordering = "-id"
    page_size_query_param = "page_size"
    max_page_size = 100


class SafeOrderingFilter(filters.OrderingFilter):
    pass


def exception_handler(exc, context):
    from rest_framework.views import exception_handler as default  # views reads the settings that name this module

    return default(exc, context)
