"""Identifiers that sort by the time they were made."""

from uuid import UUID

from uuid_utils.compat import uuid7 as _uuid7


def uuid7() -> UUID:
    """A new version 7 UUID (RFC 9562): time-ordered, monotonic within a process."""
    return _uuid7()
