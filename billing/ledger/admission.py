"""The database's decision about a hold."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Refusal:
    """A budget whose remaining amount is smaller than the hold. Amounts are USD."""

    scope: str
    limit: Decimal
    spent: Decimal
    held: Decimal

    @property
    def left(self) -> Decimal:
        return self.limit - self.spent - self.held


@dataclass(frozen=True, slots=True)
class Admission:
    """The result of a hold or a new attempt.

    `complete` is False when a budget or window is missing, or the old hold is not open; then nothing was changed.
    Otherwise the money is held in `windows`, unless `caller_ok` is False or there are `refusals`.
    """

    caller_ok: bool
    complete: bool
    windows: tuple[int, ...] = ()
    refusals: tuple[Refusal, ...] = ()
