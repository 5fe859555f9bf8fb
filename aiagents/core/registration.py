"""The policy for self-registration (the setting REGISTRATION), for the API, the page and the public description.

It does not apply to accounts that staff create in the admin; their owners get a one-time link to choose a password.
"""

from __future__ import annotations

from typing import Any, TypedDict

from django.conf import settings

from aiagents.core.errors import PermissionDenied


class RegistrationClosed(PermissionDenied):
    """The policy does not allow this registration. `details` has the keys `registration` and `domains`."""

    code = "registration_closed"


class Policy(TypedDict):
    """The policy as clients see it. `open`: some people may register; `message`: a sentence for those who want to."""

    mode: str
    open: bool
    domains: list[str]
    message: str


def policy() -> Policy:
    """The policy of the current settings."""
    mode, domains = settings.REGISTRATION, list(settings.REGISTRATION_DOMAINS)
    if mode == "open":
        return Policy(mode=mode, open=True, domains=[], message="Every visitor may create an account.")
    if mode == "domains":
        named = domains[0] if len(domains) == 1 else f"{', '.join(domains[:-1])} or {domains[-1]}"
        return Policy(mode=mode, open=True, domains=domains, message=f"Accounts are for email addresses at {named}.")
    if mode == "invite":
        message = "The administrators of this site create accounts. Ask them for one."
    else:  # closed, or an unknown value
        message = "This site does not accept new accounts."
    return Policy(mode=mode, open=False, domains=[], message=message)


def refuse_if_closed() -> None:
    """Raise RegistrationClosed if registration is closed for every address."""
    found = policy()
    if not found["open"]:
        raise RegistrationClosed(found["message"], details=_details(found))


def refuse_unless_admitted(email: str) -> None:
    """Raise RegistrationClosed unless this normalized address may register.

    A domain admits its own addresses, not those of its subdomains. The address is not verified.
    """
    refuse_if_closed()
    found = policy()
    if found["mode"] == "domains" and email.rpartition("@")[2].lower() not in found["domains"]:
        raise RegistrationClosed(found["message"], param="email", details=_details(found))


def _details(found: Policy) -> dict[str, Any]:
    return {"registration": found["mode"], "domains": found["domains"]}
