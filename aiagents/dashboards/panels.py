"""The elements of a dashboard: cards, and panels with a chart and a table of the same figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypedDict

from aiagents.core.admin import columns

Unit = Literal["", "usd", "count", "ms", "share", "bytes", "rate", "time", "percent"]
Tone = Literal["", "good", "warn", "bad"]
_BYTES = ("B", "KB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Card:
    """One key figure. `link` is a page's URL."""

    title: str
    value: str
    note: str = ""
    tone: Tone = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    label: str
    values: Sequence[Any]
    kind: Literal["", "line", "bar"] = ""
    axis: Literal["y", "right"] = "y"


class SeriesData(TypedDict):
    """A series, for the page's script."""

    label: str
    values: list[float | None]
    kind: str
    axis: str


class ChartData(TypedDict):
    """A chart, for the page's script."""

    kind: str
    labels: list[str]
    unit: str
    right: str
    series: list[SeriesData]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. `unit` is the left axis' unit, `right` the right one's."""

    kind: Literal["line", "bar", "stacked", "doughnut", "across"]
    labels: Sequence[str]
    series: Sequence[Series]
    unit: Unit = ""
    right: Unit = ""

    def data(self) -> ChartData:
        """The chart as JSON for the page's script, with figures as numbers."""
        return {
            "kind": self.kind,
            "labels": list(self.labels),
            "unit": self.unit,
            "right": self.right,
            "series": [
                {"label": one.label, "values": [number(v) for v in one.values], "kind": one.kind, "axis": one.axis} for one in self.series
            ],
        }

    def __bool__(self) -> bool:
        return any(number(value) for one in self.series for value in one.values)


class Cell(TypedDict):
    """A cell, for the template."""

    text: str
    link: str
    kind: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `head` has (title, unit) of each column. A cell is a value or (value, URL)."""

    head: Sequence[tuple[str, Unit]]
    rows: Sequence[Sequence[Any]]
    empty: str = "Nothing in this range."

    def shown(self) -> list[list[Cell]]:
        return [[_cell(cell, unit) for cell, (_, unit) in zip(row, self.head, strict=True)] for row in self.rows]

    def plain(self) -> list[list[Any]]:
        """The values of the rows, for CSV."""
        return [[cell[0] if isinstance(cell, tuple) else cell for cell in row] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Panel:
    key: str
    title: str
    table: Table
    chart: Chart | None = None
    note: str = ""
    wide: bool = False
    # Whether the table below a chart is expanded.
    open: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    title: str
    cards: Sequence[Card] = ()
    panels: Sequence[Panel] = ()
    notes: Sequence[str] = ()
    choices: Sequence[Choice] = field(default=())

    def panel(self, key: str) -> Panel | None:
        return next((panel for panel in self.panels if panel.key == key), None)


@dataclass(frozen=True, slots=True)
class Choice:
    """A select field beside the range."""

    name: str
    title: str
    values: Sequence[tuple[str, str]]
    chosen: str


def number(value: Any) -> float | None:
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def shown(value: Any, unit: Unit) -> str:
    """A value as formatted text."""
    if value is None or value == "":
        return columns.EMPTY
    try:
        match unit:
            case "usd":
                return columns.dollars(Decimal(str(value)))
            case "count":
                return columns.big(float(value))
            case "ms":
                return columns.duration(float(value))
            case "share":
                return f"{float(value):.1%}"
            case "percent":
                return f"{float(value):.1f} %"
            case "rate":
                return f"{float(value):,.1f}"
            case "bytes":
                return size(float(value))
            case "time":
                return moment(str(value))
    except (InvalidOperation, TypeError, ValueError):
        return str(value)
    return str(value)


def size(value: float) -> str:
    for name in _BYTES:
        if abs(value) < 1024 or name == _BYTES[-1]:
            return f"{value:.0f} {name}" if name == "B" else f"{value:.1f} {name}"
        value /= 1024
    raise AssertionError


def moment(text: str) -> str:
    """An RFC 3339 time as `2026-11-23 07:51`; a date or midnight as the date only."""
    day, _, time = text.replace(" ", "T").partition("T")
    return day if not time or time.startswith("00:00:00") else f"{day} {time[:5]}"


def _cell(cell: Any, unit: Unit) -> Cell:
    value, link = cell if isinstance(cell, tuple) else (cell, "")
    return {"text": shown(value, unit), "link": link, "kind": "" if not unit else "time" if unit == "time" else "number"}


def labels(rows: Iterable[Mapping[str, Any]], name: str) -> list[str]:
    return [moment(str(row[name])) for row in rows]
