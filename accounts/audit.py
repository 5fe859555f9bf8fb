"""Writes the audit log; no other module does."""

from __future__ import annotations

import ipaddress
from typing import Any
from uuid import UUID

from django.db import models

from accounts.models import AuditEvent, User
from aiagents.core.logs.context import request_id


def record(
    action: str,
    *,
    actor: User | None = None,
    target: models.Model | None = None,
    ip: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """Append one event, with the request's id, in the caller's transaction.

    `details`: JSON without secrets or content.
    """
    AuditEvent.objects.create(
        action=action,
        actor=actor if actor is not None and actor.pk else None,
        target_type=target._meta.label_lower if target is not None else "",
        target_id=str(target.pk) if target is not None else "",
        ip=storable_ip(ip),
        request_id=request_id.get()[:64],
        details=details or {},
    )


def forget_details(target: type[models.Model], target_id: UUID) -> None:
    """Empty the details of the events about an erased object, because they name it. Actor, action and time stay."""
    AuditEvent.objects.filter(target_type=target._meta.label_lower, target_id=str(target_id)).update(details={})


def storable_ip(ip: str) -> str | None:
    """Return the address in a form that the database accepts, without an IPv6 zone; None if it is not an IP address."""
    try:
        return str(ipaddress.ip_address(ip.partition("%")[0]))
    except ValueError:
        return None
