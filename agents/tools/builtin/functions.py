"""The calculator's functions over Decimal. They use the caller's decimal context and its limits."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

from agents.tools.base import ToolError

# Digits of irrational results (roots, logarithms, angles): far more than are shown, so that rounding errors stay hidden.
_DIGITS = 60
_MOST_FACTORIAL = 1000
_MOST_ANGLE = Decimal(10) ** 15
Function = Callable[..., Decimal]


@cache
def _mp() -> Any:
    """The context of mpmath: a separate one that never changes, because any thread may change the shared one.

    Imported at its first use: mpmath takes 6 MB of every process, and few calculate.
    """
    import mpmath

    context = mpmath.mp.clone()
    context.dps = _DIGITS + 20
    return context


def constant(name: str) -> Decimal:
    """Return pi, e or tau to 60 digits, and mark the calculation as inexact."""
    return CONSTANTS[name]()


def divide(a: Decimal, b: Decimal) -> Decimal:
    if b == 0:
        raise ToolError("Division by zero.")
    return a / b


def floor_divide(a: Decimal, b: Decimal) -> Decimal:
    """Return the quotient rounded down, as Python does for integers but not for decimals."""
    if b == 0:
        raise ToolError("Division by zero.")
    whole = a // b
    return whole - 1 if a - b * whole != 0 and (a < 0) != (b < 0) else whole


def power(a: Decimal, b: Decimal) -> Decimal:
    if a == 0 and b < 0:
        raise ToolError("Division by zero.")
    if a == 0 and b == 0:
        return Decimal(1)
    if b == b.to_integral_value() and abs(b) <= 9999:
        # libmpdec marks every power as rounded, but powers with integer exponents are exact while they fit.
        return _whole_power(a, int(b))
    if a < 0:
        raise ToolError("A root of a negative number has no real value.")
    return _irrational(lambda: a**b)


def _whole_power(a: Decimal, exponent: int) -> Decimal:
    found, square, rest = Decimal(1), a, abs(exponent)
    while rest:
        if rest & 1:
            found *= square
        rest >>= 1
        if rest:
            square *= square
    return 1 / found if exponent < 0 else found


def _sqrt(x: Decimal) -> Decimal:
    if x < 0:
        raise ToolError("A root of a negative number has no real value.")
    return x.sqrt()


def _cbrt(x: Decimal) -> Decimal:
    with decimal.localcontext(prec=_DIGITS):
        found = _decimal(_mp().cbrt(_real(abs(x)))).copy_sign(x)
        near = found.to_integral_value()
        if near**3 == x:
            return near
    _inexact()
    return found


def _ln(x: Decimal) -> Decimal:
    if x <= 0:
        raise ToolError("Only a number above 0 has a logarithm.")
    return Decimal(0) if x == 1 else _irrational(x.ln)


def _log10(x: Decimal) -> Decimal:
    if x <= 0:
        raise ToolError("Only a number above 0 has a logarithm.")
    # libmpdec marks the logarithms of powers of ten as exact.
    with decimal.localcontext(prec=_DIGITS) as rules:
        found = x.log10()
        rounded = rules.flags[decimal.Inexact]
    if rounded:
        _inexact()
    return found


def _log(x: Decimal, base: Decimal) -> Decimal:
    if base <= 0 or base == 1:
        raise ToolError("A logarithm's base is above 0 and not 1.")
    if x <= 0:
        raise ToolError("Only a number above 0 has a logarithm.")
    with decimal.localcontext(prec=_DIGITS):
        found = x.ln() / base.ln()
        near = found.to_integral_value()
    if abs(near) <= 9999 and _whole_power(base, int(near)) == x:
        return near
    _inexact()
    return found


def _exp(x: Decimal) -> Decimal:
    return _irrational(x.exp) if x else Decimal(1)


def _angle(function: Callable[[Any], Any]) -> Function:
    """A function of an angle in radians. A rounding error becomes 0: sin(pi) is 0, but sin(1e-60) is not."""

    def of(x: Decimal) -> Decimal:
        if abs(x) > _MOST_ANGLE:
            raise ToolError("The angle is too large.")
        found = _irrational(lambda: _decimal(function(_real(x)))) if x else _decimal(function(_mp().zero))
        if abs(x) > 1 and found.adjusted() < 10 - _DIGITS:
            return Decimal(0)
        if found.adjusted() > _DIGITS - 10:
            raise ToolError("Division by zero.")
        return found

    return of


def _real(x: Decimal) -> Any:
    return _mp().mpf(str(x))


def _decimal(real: Any) -> Decimal:
    """Return mpmath's number as a Decimal of at most 60 digits."""
    return Decimal(_mp().nstr(real, _DIGITS, strip_zeros=True, min_fixed=1, max_fixed=0))


def _round(x: Decimal, digits: Decimal = Decimal(0)) -> Decimal:
    """Return the number rounded half away from zero, as on an invoice."""
    places = _whole(digits, "round's digits")
    if abs(places) > 100:
        raise ToolError("round takes at most 100 digits.")
    if x.is_zero() or -int(x.as_tuple().exponent) <= places:
        return x
    # Requested rounding does not count as inexact, so it uses a separate context.
    with decimal.localcontext():
        return x.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def _to(rounding: str) -> Function:
    return lambda x: x.to_integral_value(rounding=rounding)


def _factorial(x: Decimal) -> Decimal:
    n = _whole(x, "factorial's number")
    if not 0 <= n <= _MOST_FACTORIAL:
        raise ToolError(f"factorial takes a whole number from 0 to {_MOST_FACTORIAL}.")
    return +Decimal(math.factorial(n))


def _comb(x: Decimal, y: Decimal) -> Decimal:
    n, k = _whole(x, "comb's numbers"), _whole(y, "comb's numbers")
    if not 0 <= k <= n <= _MOST_FACTORIAL:
        raise ToolError(f"comb takes whole numbers with 0 ≤ k ≤ n ≤ {_MOST_FACTORIAL}.")
    return +Decimal(math.comb(n, k))


def _gcd(*numbers: Decimal) -> Decimal:
    return Decimal(math.gcd(*(_whole(one, "gcd's numbers") for one in numbers)))


def _lcm(*numbers: Decimal) -> Decimal:
    return +Decimal(math.lcm(*(_whole(one, "lcm's numbers") for one in numbers)))


def _whole(x: Decimal, what: str) -> int:
    if x != x.to_integral_value() or x.adjusted() > 50:
        raise ToolError(f"{what} must be whole and of at most 50 digits.")
    return int(x)


def _irrational(work: Callable[[], Decimal]) -> Decimal:
    with decimal.localcontext(prec=_DIGITS):
        found = work()
    _inexact()
    return found


def _inexact() -> None:
    decimal.getcontext().flags[decimal.Inexact] = True


CONSTANTS: dict[str, Callable[[], Decimal]] = {
    "pi": lambda: _irrational(lambda: _decimal(+_mp().pi)),
    "e": lambda: _irrational(lambda: _decimal(+_mp().e)),
    "tau": lambda: _irrational(lambda: _decimal(2 * _mp().pi)),
}
# Name: function, fewest and most arguments.
FUNCTIONS: dict[str, tuple[Function, int, int]] = {
    "abs": (abs, 1, 1),
    "round": (_round, 1, 2),
    "floor": (_to(ROUND_FLOOR), 1, 1),
    "ceil": (_to(ROUND_CEILING), 1, 1),
    "trunc": (_to(ROUND_DOWN), 1, 1),
    "sqrt": (_sqrt, 1, 1),
    "cbrt": (_cbrt, 1, 1),
    "exp": (_exp, 1, 1),
    "ln": (_ln, 1, 1),
    "log": (_log, 2, 2),
    "log10": (_log10, 1, 1),
    "log2": (lambda x: _log(x, Decimal(2)), 1, 1),
    "sin": (_angle(lambda x: _mp().sin(x)), 1, 1),
    "cos": (_angle(lambda x: _mp().cos(x)), 1, 1),
    "tan": (_angle(lambda x: _mp().tan(x)), 1, 1),
    "radians": (lambda x: x * constant("pi") / 180, 1, 1),
    "degrees": (lambda x: x * 180 / constant("pi"), 1, 1),
    "min": (lambda *numbers: min(numbers), 1, 200),
    "max": (lambda *numbers: max(numbers), 1, 200),
    "sum": (lambda *numbers: sum(numbers, Decimal(0)), 1, 200),
    "mean": (lambda *numbers: sum(numbers, Decimal(0)) / len(numbers), 1, 200),
    "factorial": (_factorial, 1, 1),
    "comb": (_comb, 2, 2),
    "gcd": (_gcd, 2, 50),
    "lcm": (_lcm, 2, 20),
}
