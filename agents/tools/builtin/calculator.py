"""Exact decimal arithmetic without floats, bounded in size, power and depth."""

from __future__ import annotations

import ast
import decimal
import re
from collections.abc import Callable
from decimal import Decimal

from agents.tools.base import ToolContext, ToolError
from agents.tools.builtin import functions
from agents.tools.declaring import tool

_MOST_CHARACTERS = 1000
_MOST_DEPTH = 60
# Results are exact up to this many digits; longer ones are rounded.
_DIGITS = 400
_SHOWN = 28
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "π": "pi", "^": "\x00"})
_EXACT = decimal.Context(
    prec=_DIGITS, Emax=9999, Emin=-9999, rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)  # fmt: skip


@tool()
async def calculator(context: ToolContext, expression: str) -> str:
    """Calculate an arithmetic expression exactly. Use it for every calculation instead of working it out yourself.

    Operators: + - * / // % ** (or ^) and parentheses. Functions: abs, round(x, digits), floor, ceil, trunc, sqrt, cbrt, exp, ln,
    log10, log2, log(x, base), sin, cos, tan (radians), radians, degrees, min, max, sum, mean, factorial, gcd, lcm, comb(n, k).
    Constants: pi, e, tau. No thousands separators, units or variables.
    The answer begins with = when it is exact and with ≈ when it had to be rounded.

    expression: for example 0.1 + 0.2, or round(1299.90 * 1.19, 2)
    """
    return evaluate(expression)


def evaluate(expression: str) -> str:
    """Return the expression's value as `= 0.3` or `≈ 0.3333…`. Raises ToolError with the mistake in it."""
    if len(expression) > _MOST_CHARACTERS:
        raise ToolError(f"The expression is longer than {_MOST_CHARACTERS} characters; split it.")
    text = expression.translate(_SIGNS).replace("\x00", "**")
    text = " ".join(text.split())
    if "#" in text:  # Python would silently ignore the rest
        raise ToolError("Only numbers, + - * / // % ** ( ) and the listed functions are allowed.")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # surrogates are ValueErrors
        raise ToolError("This is not a valid arithmetic expression.") from None
    with decimal.localcontext(_EXACT) as rules:
        try:
            value = +_Evaluator(text).value(tree.body, 0)
        except decimal.DivisionByZero:
            raise ToolError("Division by zero.") from None
        except decimal.Overflow:
            raise ToolError("The result has more than 9999 digits.") from None
        except (decimal.InvalidOperation, decimal.InvalidContext):
            raise ToolError("The result is not a real number, or it is too large.") from None
        exact = not rules.flags[decimal.Inexact]
    return f"= {_plain(value)}" if exact else f"≈ {_plain(_rounded(value))}"


class _Evaluator:
    """Evaluates the syntax tree of one expression. It allows only the operations listed here."""

    def __init__(self, text: str) -> None:
        # The tree's offsets count bytes of UTF-8.
        self.source = text.encode()

    def value(self, node: ast.expr, depth: int) -> Decimal:
        if depth > _MOST_DEPTH:
            raise ToolError(f"The expression is nested deeper than {_MOST_DEPTH} levels; split it.")
        match node:
            case ast.Constant():
                return self.number(node)
            case ast.UnaryOp(ast.USub(), operand):
                return -self.value(operand, depth + 1)
            case ast.UnaryOp(ast.UAdd(), operand):
                return self.value(operand, depth + 1)
            case ast.BinOp():
                return self.operation(node, depth)
            case ast.Name(name) if name in functions.CONSTANTS:
                return functions.constant(name)
            case ast.Name(name):
                raise ToolError(f"There is no constant {name[:50]!r}.")
            case ast.Call(ast.Name(name), args, []):
                return self.call(name, args, depth)
        raise ToolError("Only numbers, + - * / // % ** ( ) and the listed functions are allowed.")

    def number(self, node: ast.Constant) -> Decimal:
        # Read from the source: the parsed value of 0.1 is a binary float.
        text = self.source[node.col_offset : node.end_col_offset].decode().replace("_", "")
        if not re.fullmatch(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", text, re.ASCII):
            raise ToolError("Only decimal numbers are allowed.")
        return +Decimal(text)

    def operation(self, node: ast.BinOp, depth: int) -> Decimal:
        # A long sum is a deep tree on its left, so we descend it without recursion.
        chain = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        found = self.value(chain[-1].left, depth + 1)
        for one in reversed(chain):
            apply = _OPERATIONS.get(type(one.op))
            if apply is None:
                raise ToolError("Only + - * / // % and ** are allowed between numbers.")
            found = apply(found, self.value(one.right, depth + 1))
        return found

    def call(self, name: str, args: list[ast.expr], depth: int) -> Decimal:
        known = functions.FUNCTIONS.get(name)
        if known is None:
            raise ToolError(f"There is no function {name[:50]!r}.")
        function, fewest, most = known
        if not fewest <= len(args) <= most:
            raise ToolError(f"{name} takes {fewest} to {most} numbers." if fewest != most else f"{name} takes {fewest} number(s).")
        return function(*(self.value(one, depth + 1) for one in args))


_OPERATIONS: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: functions.divide,
    ast.FloorDiv: functions.floor_divide,
    ast.Mod: lambda a, b: a - b * functions.floor_divide(a, b),
    ast.Pow: functions.power,
}


def _rounded(value: Decimal) -> Decimal:
    with decimal.localcontext(_EXACT, prec=_SHOWN):
        return +value


def _plain(value: Decimal) -> str:
    """Return the number as text, without an exponent unless it is very large or small."""
    if value == 0:
        return "0"
    with decimal.localcontext(_EXACT):
        value = value.normalize()
    if -_SHOWN <= value.adjusted() <= 120:
        return f"{value:f}"
    return f"{value:e}".replace("e+", "e")
