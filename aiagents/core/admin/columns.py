"""Formatted columns of lists: money, numbers, durations, states, links. Their attribute `raw` is the value for CSV files."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

EMPTY = "–"
# The badge colors of all models' states.
COLOURS = {
    **dict.fromkeys(("ok", "complete", "succeeded", "delivered", "settled", "active", "sent", "up"), "success"),
    **dict.fromkeys(("running", "streaming", "pending", "queued", "open", "waiting", "scheduled"), "info"),
    **dict.fromkeys(("waiting_approval", "interrupted", "deprecated", "swept", "paused", "denied"), "warning"),
    **dict.fromkeys(("failed", "error", "retired", "down"), "danger"),
}
Column = Callable[[Any], Any]


def value_of(row: Any, path: str) -> Any:
    """The value at the path `a__b` of a row; None if a part of it is None."""
    for name in path.split("__"):
        if row is None:
            return None
        row = getattr(row, name)
    return row


def _column(path: str, title: str, show: Callable[[Any], Any], *, order: bool = True) -> Column:
    def column(row: Any) -> Any:
        value = value_of(row, path)
        return EMPTY if value is None or value == "" else show(value)

    column.__name__ = f"{path}_shown"
    column.short_description = title or path.rpartition("__")[2].removesuffix("_usd").replace("_", " ")  # type: ignore[attr-defined]  # Django's admin and our CSV read attributes of the function
    column.raw = lambda row: value_of(row, path)  # type: ignore[attr-defined]  # Django's admin and our CSV read attributes of the function
    if order:
        column.admin_order_field = path  # type: ignore[attr-defined]  # Django's admin and our CSV read attributes of the function
    return column


def dollars(value: Decimal | None, *, least: int = 2) -> str:
    """$1,234.50; a small amount has as many places as it needs to differ from zero: $0.000421."""
    if value is None:
        return EMPTY
    value = Decimal(value)
    sign, size = ("-" if value < 0 else ""), abs(value)
    if size >= 1 or size == 0:
        return f"{sign}${size:,.{least}f}"
    # Three significant digits without trailing zeros.
    text = f"{size:.{min(8, 2 - size.adjusted())}f}".rstrip("0")
    return f"{sign}${text.ljust(text.index('.') + 1 + least, '0')}"


def big(value: float | None) -> str:
    return EMPTY if value is None else f"{value:,.0f}"


def duration(milliseconds: float | None) -> str:
    """850 ms, 3.2 s, 4 min 10 s."""
    if milliseconds is None:
        return EMPTY
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds // 60_000:.0f} min {milliseconds % 60_000 // 1000:.0f} s"


def money(path: str, title: str = "", *, order: bool = True) -> Column:
    return _column(path, title, dollars, order=order)


def number(path: str, title: str = "", *, order: bool = True) -> Column:
    return _column(path, title, big, order=order)


def millis(path: str, title: str = "", *, order: bool = True) -> Column:
    return _column(path, title, duration, order=order)


def state(path: str, title: str = "", *, order: bool = True) -> Column:
    """A coloured badge."""
    return _column(path, title, badge, order=order)


def badge(value: Any) -> SafeString:
    return format_html('<span class="office-badge is-{}">{}</span>', COLOURS.get(str(value), "plain"), str(value).replace("_", " "))


def rate(path: str, title: str = "") -> Column:
    """A decimal without the trailing zeros of its database column."""
    return _column(path, title, lambda value: f"{value.normalize():f}")


def text(path: str, title: str = "", *, most: int = 60, order: bool = True) -> Column:
    """Plain text, truncated. The template escapes it."""
    return _column(path, title, lambda value: str(value) if len(str(value)) <= most else f"{str(value)[: most - 1]}…", order=order)


def link(path: str, title: str = "", *, show: str = "", order: bool = True) -> Column:
    """A link to a related row. `show`: the path of its text, by default str(row)."""

    def shown(row: Any) -> Any:
        other = value_of(row, path)
        if other is None:
            return EMPTY
        return to(other, str(value_of(row, show)) if show else str(other))

    column = _column(path, title, lambda value: value, order=order)
    shown.__name__, shown.short_description = column.__name__, column.short_description  # type: ignore[attr-defined]  # Django's admin and our CSV read attributes of the function
    shown.raw = lambda row: value_of(row, show) if show else value_of(row, path)  # type: ignore[attr-defined]  # Django's admin and our CSV read attributes of the function
    shown.is_link = True  # type: ignore[attr-defined]  # Django's admin and our CSV read attributes of the function
    if order:
        shown.admin_order_field = show or path  # type: ignore[attr-defined]  # Django's admin and our CSV read attributes of the function
    return shown


def to(row: Model, text: str = "") -> SafeString | str:
    """A link to a row's page; only its text if it has no page."""
    meta = row._meta
    try:
        address = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    except NoReverseMatch:
        return text or str(row)
    return format_html('<a class="office-link" href="{}">{}</a>', address, text or str(row))


def page(app: str, model: str, id: Any, text: str) -> SafeString:
    """A link to the page of a row that is not loaded."""
    return format_html('<a class="office-link" href="{}">{}</a>', reverse(f"admin:{app}_{model}_change", args=[id]), text)


def listed(app: str, model: str, query: dict[str, Any], text: str) -> SafeString:
    """A link to the filtered list of rows."""
    return format_html('<a class="office-link" href="{}?{}">{}</a>', reverse(f"admin:{app}_{model}_changelist"), urlencode(query), text)


def json(path: str, title: str = "") -> Column:
    """A JSON value, indented, in a scrolling box."""
    from aiagents.core.admin.pretty import pretty  # only forms need it

    return _column(path, title, pretty, order=False)
