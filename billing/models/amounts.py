"""How many digits the columns of money and of rates hold."""

from __future__ import annotations

from typing import Any

# USD per million tokens needs 6 places at most; one token of that needs 12.
MONEY: Any = {"max_digits": 24, "decimal_places": 12}
RATE: Any = {"max_digits": 14, "decimal_places": 6}
