"""The OpenAPI document (placeholder)."""

from drf_spectacular.openapi import AutoSchema

__all__ = ["AutoSchema"]


def add_hot_doors(result, generator, request, public):
    return result
