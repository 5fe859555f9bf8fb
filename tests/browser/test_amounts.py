"""Sums of money as the pages write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.visit import Visit

pytestmark = [pytest.mark.browser, pytest.mark.long]
Open = Callable[..., Visit]
PLAIN = {
    "500": "500", "10": "10", "0": "0", "500.000000": "500", "0.50": "0.5", "0.0": "0", "1.010": "1.01", "": "", "-5.10": "-5.1",
}  # fmt: skip
USD = {
    "0": "$0", "0.5": "$0.50", "0.05": "$0.05", "0.001230": "$0.00123", "0.1": "$0.10", "-0.25": "-$0.25", "0.9999999": "$1.00",
    "12.5": "$12.50", "0.0000001": "$0.0000001",
}  # fmt: skip


def test_zeros_are_left_out_only_behind_the_point(visit: Open) -> None:
    """A limit of 500 was shown as 5 where the zeros of a whole number were left out."""
    one = visit()
    call = "async ([name, texts]) => { const module = await import('/static/shared/format.js'); return texts.map(module[name]); }"
    for name, wanted in (("plainAmount", PLAIN), ("usd", USD)):
        assert dict(zip(wanted, one.page.evaluate(call, [name, list(wanted)]), strict=True)) == wanted
