"""Users, their sessions (token families), API keys, account e-mails, and the audit log."""

from accounts.models.audit import AuditEvent
from accounts.models.keys import ApiKey, ApiKeyQuerySet
from accounts.models.mails import AccountMail, AccountMailQuerySet
from accounts.models.sessions import TokenFamily, TokenFamilyQuerySet
from accounts.models.users import User, UserManager, UserQuerySet, normal_email

__all__ = [
    "AccountMail", "AccountMailQuerySet", "ApiKey", "ApiKeyQuerySet", "AuditEvent", "TokenFamily", "TokenFamilyQuerySet", "User",
    "UserManager", "UserQuerySet", "normal_email",
]  # fmt: skip
