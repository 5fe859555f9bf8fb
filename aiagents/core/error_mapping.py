"""The one mapping of Django's and the database's exceptions to the contract's errors.

Every renderer uses it: DRF's exception handler, Django's error views, and the endpoints beside Django.
"""

from __future__ import annotations

import logging

from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, InterfaceError, OperationalError
from django.db.models import ProtectedError
from django.http import Http404

from aiagents.core import storage
from aiagents.core.errors import AppError, Conflict, InvalidRequest, NotFound, PayloadTooLarge, PermissionDenied, Unavailable
from aiagents.core.field_errors import invalid

log = logging.getLogger(__name__)
# The database's exceptions when it cannot be reached, or cannot do more.
DATABASE_FAILED = (OperationalError, InterfaceError)


def error_of(exc: BaseException) -> AppError | None:
    """The error that a client sees for an exception; None if it is our own bug, which is logged and answered with 500."""
    match exc:
        case AppError():
            return exc
        case DjangoValidationError():
            return invalid(exc.message_dict if hasattr(exc, "error_dict") else {"non_field_errors": exc.messages})
        case BadRequest():
            return InvalidRequest(str(exc) or None)
        case DjangoPermissionDenied():
            return PermissionDenied(str(exc) or None)
        case Http404():
            return NotFound()
        case RequestDataTooBig():
            return PayloadTooLarge(details={"max_bytes": settings.DATA_UPLOAD_MAX_MEMORY_SIZE})
        case SuspiciousOperation():
            return InvalidRequest()
        case ProtectedError():
            return Conflict("Other objects still refer to this one; delete them first.")
        case OperationalError() | InterfaceError():
            # No traceback: an unreachable server fails every request in the same way.
            log.error("the database failed a request: %s: %s", type(exc).__name__, str(exc).partition("\n")[0])
            return database_error(exc)
        case DataError():
            log.warning("the database refused a value", exc_info=exc)
            return InvalidRequest("A value is out of range.", code="out_of_range")
    return None


def database_error(exc: BaseException) -> Unavailable:
    """The error for a database that cannot be reached (503), or whose disk is full (`storage_full`)."""
    if storage.is_full(exc):
        return storage.StorageFull()
    return Unavailable("The database is unavailable or overloaded; try again shortly.")
