"""Why a model is no candidate for a request: a code for programs and a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """`removed_code` of a candidate in the answer of `chat/route`. A closed list."""

    NOT_CONFIGURED = "not_configured"
    DISABLED = "disabled"
    RETIRED = "retired"
    EMBEDDINGS_ONLY = "embeddings_only"
    OTHER_DIALECT = "other_dialect"
    CAPABILITY_MISSING = "capability_missing"
    CONTEXT_TOO_LONG = "context_too_long"
    MAX_COST = "max_cost"
    BREAKER_OPEN = "breaker_open"
    ONLY_BY_NAME = "only_by_name"
    PRICE_UNKNOWN = "price_unknown"
    NO_PRICE = "no_price"


# The model is not there for anyone in this installation.
UNAVAILABLE = frozenset({Code.NOT_CONFIGURED, Code.DISABLED, Code.RETIRED})
# A named model is used all the same, and `auto` uses it before it refuses a request.
SOFT = frozenset({Code.BREAKER_OPEN, Code.PRICE_UNKNOWN})


@dataclass(frozen=True, slots=True)
class Removal:
    """The sentence goes on from the model's name: "it …". `param`: the request's field that is the reason, if it is one."""

    code: Code
    sentence: str
    param: str = ""

    def __str__(self) -> str:
        return self.sentence


NOT_CONFIGURED = Removal(Code.NOT_CONFIGURED, "its vendor is not configured")
DISABLED = Removal(Code.DISABLED, "it is switched off")
RETIRED = Removal(Code.RETIRED, "it is retired")
EMBEDDINGS_ONLY = Removal(Code.EMBEDDINGS_ONLY, "it makes embeddings, not text: use /v1/embeddings")
OTHER_DIALECT = Removal(Code.OTHER_DIALECT, "the request uses something that only models at another API have")
MAX_COST = Removal(Code.MAX_COST, "it may cost more than max_cost_usd")
BREAKER_OPEN = Removal(Code.BREAKER_OPEN, "it failed too often just now (its circuit breaker is open)")
PRICE_UNKNOWN = Removal(Code.PRICE_UNKNOWN, "its price is unknown: used only by name")
