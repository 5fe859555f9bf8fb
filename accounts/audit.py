"""The audit log's only writer."""

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
    """Append one event to the caller's transaction; the request's id is added. `details`: JSON, no secret, no content."""
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
    """Empty the details of the events about a thing that was erased: they name it. Who did what, and when, stays."""
    AuditEvent.objects.filter(target_type=target._meta.label_lower, target_id=str(target_id)).update(details={})


def storable_ip(ip: str) -> str | None:
    """The address as the database takes it; None for a Unix socket's peer and for nonsense. An IPv6 zone goes."""
    try:
        return str(ipaddress.ip_address(ip.partition("%")[0]))
    except ValueError:
        return None
