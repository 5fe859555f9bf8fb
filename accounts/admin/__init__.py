"""The admin of accounts."""

from accounts.admin import audit_log, credentials, users
from accounts.admin.acting import staff

__all__ = ["audit_log", "credentials", "staff", "users"]
