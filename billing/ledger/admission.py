"""The wanted amount of a hold, and the database's decision about it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Range:
    """The amounts (USD) that a hold may have: `most` if there is money for it, never less than `least`.

    Between them each budget gives `usual`, or its part of what is free if that is more: free / (2 + held / usual). So one
    call takes at most half, and the parts shrink while others hold money (docs/adr/0106-output-limit-by-money.md).
    """

    most: Decimal
    usual: Decimal
    least: Decimal

    def within(self, free: Decimal, held: Decimal) -> Decimal:
        """Return what a budget gives, of which `free` is left beside the `held` amount."""
        part = free * self.usual / (2 * self.usual + held) if self.usual else self.most
        return min(self.most, max(min(self.usual, free), part))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A budget whose remaining amount is smaller than the least hold. Amounts are USD."""

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
    Otherwise `amount` (USD) is held in `windows`, unless `caller_ok` is False or there are `refusals`.
    """

    caller_ok: bool
    complete: bool
    windows: tuple[int, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    amount: Decimal = Decimal(0)
