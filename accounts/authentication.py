"""Who is calling, from any door's headers."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from accounts.models import User


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. Rights come from the database at authentication, never from the token.

    `auth_epoch` and `key_id` go with every hold, where the database checks them once more in the same statement.
    """

    user: User
    auth_epoch: int
    key_id: UUID | None = None
    # None: an access token, which may do all that its user may. A key: its scopes.
    scopes: frozenset[str] | None = None
    # Requests per window; None: the user's default.
    rate_limit: int | None = None
    # Unix time at which the credential ends; None: never.
    expires_at: float | None = None
    family_id: UUID | None = None

    @property
    def user_id(self) -> UUID:
        return self.user.id


class BearerAuthentication:
    """Placeholder."""


class BrowsableSessionAuthentication:
    """Placeholder."""
