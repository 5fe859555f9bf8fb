"""Accounts in the back office."""

from accounts.admin import audit_log, credentials, users
from accounts.admin.acting import staff

__all__ = ["audit_log", "credentials", "staff", "users"]
