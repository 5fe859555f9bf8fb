"""Types of the environment's values. Each accepts a closed set or a syntax and raises ValueError with a message otherwise."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from aiagents.core.time_zones import time_zones

List = Annotated[list[str], NoDecode]
_RATE = re.compile(r"[1-9][0-9]*/([1-9][0-9]*)?[smhd]")
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# The value for no limit and for no network, because an empty value means the default.
NONE = "none"


def _upper(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


def _zone(value: str) -> str:
    if value not in time_zones():
        raise ValueError("must be a time zone of the IANA database, e.g. Europe/Paris")
    return value


def _rate(value: str) -> str:
    if not _RATE.fullmatch(value):
        raise ValueError("must be a number of attempts per s, m, h or d, e.g. 30/5m")
    return value


def _limit(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() == NONE else value


def _split(value: str) -> SplitResult:
    parts = urlsplit(value)
    try:
        _ = parts.port
    except ValueError:  # its message repeats a part of the URL, which may be a password
        raise ValueError("has a port that is not a number") from None
    return parts


def _origin(value: str) -> str:
    """The origin in lower case and without a trailing slash, as browsers send it."""
    parts = _split(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"} or parts.query or "@" in parts.netloc:
        raise ValueError("must be a full origin without a path: https://host or http://host:port")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _site(value: str) -> str:
    if len(value) > 300:  # every link in an e-mail contains it
        raise ValueError("must have at most 300 characters")
    return _origin(value) if value else ""


def _origins(values: list[str]) -> list[str]:
    return [_origin(value) for value in values]


def _database(value: str) -> str:
    if value and _split(value).scheme not in {"postgres", "postgresql", "sqlite"}:
        raise ValueError("must begin with postgres://, postgresql:// or sqlite:///")
    return value


def _redis(value: str) -> str:
    if not value:
        return value
    parts = _split(value)
    if not ((parts.scheme in {"redis", "rediss"} and parts.hostname) or (parts.scheme == "unix" and parts.path)):
        raise ValueError("must begin with redis://host, rediss://host or unix:///path")
    return value


def _vendor(value: str) -> str:
    if value and (_split(value).scheme not in {"http", "https"} or not _split(value).hostname):
        raise ValueError("must begin with https://host or http://host")
    return value


def _email(value: SecretStr | None) -> SecretStr | None:
    if value is None:
        return None
    parts = _split(value.get_secret_value())
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise ValueError("must begin with smtp://host or smtps://host")
    if parts.query not in {"", "starttls=on", "starttls=off"}:
        raise ValueError("accepts one option, starttls=off (or on)")
    return value


def _networks(values: list[str]) -> list[str]:
    for value in values:
        if value == "unix":  # a proxy that connects over a Unix socket
            continue
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError("must be a list of addresses or CIDR networks, e.g. 10.0.0.0/8; or unix") from None
    return values


def _networks_or_none(values: list[str]) -> list[str]:
    """The value `none` means an empty list, because an empty variable counts as unset."""
    return [] if values == [NONE] else _networks(values)


def _fernet(values: list[str]) -> list[str]:
    for value in values:
        try:
            fits = len(base64.urlsafe_b64decode(value)) == 32
        except (binascii.Error, ValueError):
            fits = False
        if not fits:
            raise ValueError("must be a list of Fernet keys: 32 random bytes each, in URL-safe base64")
    return values


def _domains(values: list[str]) -> list[str]:
    found = [value.lower().removeprefix("@") for value in values]
    if not all(_DOMAIN.fullmatch(value) for value in found):
        raise ValueError("must be a list of e-mail domains, e.g. example.com,example.org")
    return found


# Closed sets of values. Only the log level is case-insensitive, for compatibility.
Environment = Literal["development", "production"]
Registration = Literal["open", "invite", "domains", "closed"]
LogFormat = Literal["json", "console"]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
TimeZone = Annotated[str, AfterValidator(_zone)]
Rate = Annotated[str, AfterValidator(_rate)]

# Numbers.
Count = Annotated[int, Field(ge=1, le=2**31)]
CountOrZero = Annotated[int, Field(ge=0, le=2**31)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
# Values of `auto` routing. A spread below 1 would overflow the logistic function. Below a chance of one half the chosen
# quality could fall while the need rises (docs/adr/0084-routing-rule.md).
AnswerValue = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
SecondPrice = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Spread = Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)]
GoodEnough = Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)]
MonthlyLimit = Annotated[Annotated[Decimal, Field(ge=0, le=10**9, allow_inf_nan=False)] | None, BeforeValidator(_limit)]

# Addresses.
SiteUrl = Annotated[str, AfterValidator(_site)]
Origins = Annotated[List, AfterValidator(_origins)]
DatabaseUrl = Annotated[str, AfterValidator(_database)]
RedisUrl = Annotated[str, AfterValidator(_redis)]
VendorUrl = Annotated[str, AfterValidator(_vendor)]
EmailUrl = Annotated[SecretStr | None, AfterValidator(_email)]
Networks = Annotated[List, AfterValidator(_networks)]
NetworksOrNone = Annotated[List, AfterValidator(_networks_or_none)]
FernetKeys = Annotated[List, AfterValidator(_fernet)]
Domains = Annotated[List, AfterValidator(_domains)]
