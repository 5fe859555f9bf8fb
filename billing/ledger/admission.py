"""What the database said to a hold."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Refusal:
    """A budget in which the amount does not fit."""

    scope: str
    limit: Decimal
    spent: Decimal
    held: Decimal

    @property
    def left(self) -> Decimal:
        return self.limit - self.spent - self.held


@dataclass(frozen=True, slots=True)
class Admission:
    """`complete` False: a budget or window is missing, or there is nothing to take over; nothing was changed.

    Otherwise the money is held in `windows`, unless the caller is not `caller_ok` or `refusals` stand against it.
    """

    caller_ok: bool
    complete: bool
    windows: tuple[int, ...] = ()
    refusals: tuple[Refusal, ...] = ()
