"""Parse amounts of US dollars that clients send, such as `max_cost_usd`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from rest_framework import serializers

# The largest cost limit of a request, run or task.
MOST_COST_USD = Decimal(10_000)
# Narrower than Decimal(), which also reads underscores, NaN and the digits of every script.
_AMOUNT = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?(e-?[0-9]{1,2})?", re.ASCII | re.IGNORECASE)
_PLACES = 12
EXPECTED = f'must be US dollars above 0 and up to {MOST_COST_USD:,}, as a decimal string such as "0.05".'


def read_cost(value: Any) -> Decimal:
    """Parse an amount from a client's JSON: a decimal string or a number above 0 and up to MOST_COST_USD, 12 places.

    Raises ValueError with an error message for the client.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(EXPECTED)
    # Compare a number before converting it to text: Python refuses to convert integers with thousands of digits.
    if (not isinstance(value, str) and not 0 < value <= MOST_COST_USD) or not _AMOUNT.fullmatch(str(value)):
        raise ValueError(EXPECTED)
    amount = Decimal(str(value))
    if not 0 < amount <= MOST_COST_USD:
        raise ValueError(EXPECTED)
    if amount != round(amount, _PLACES):
        raise ValueError(f"must have at most {_PLACES} decimal places.")
    return amount


# The same as a field of a request model.
Cost = Annotated[
    Decimal,
    PlainValidator(read_cost),
    WithJsonSchema({
        "anyOf": [
            {"type": "string", "maxLength": 40, "pattern": r"^(?=[0-9.]*[1-9])[0-9]{1,12}(\.[0-9]{1,12})?$"},
            {"type": "number", "exclusiveMinimum": 0, "maximum": int(MOST_COST_USD)},
        ]
    }),
]  # fmt: skip


class CostField(serializers.DecimalField):
    """A serializer field for such an amount."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=24, decimal_places=_PLACES, max_value=MOST_COST_USD, **options)

    def run_validators(self, value: Any) -> None:
        super().run_validators(value)
        if value is not None and value <= 0:
            raise serializers.ValidationError("Above 0.")
