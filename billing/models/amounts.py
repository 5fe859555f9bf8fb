"""The digits of the columns for money and for rates."""

from __future__ import annotations

from typing import Any

# A rate in USD per million tokens needs at most 6 places; the cost of one token then needs 12.
MONEY: Any = {"max_digits": 24, "decimal_places": 12}
RATE: Any = {"max_digits": 14, "decimal_places": 6}
