"""The table of the shop's figures, with as many columns and intervals as the terminal has room for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from lastaisle.cli.terminal import console
from lastaisle.telemetry.shown import one_line

Row = Mapping[str, Any]

_PERIODS = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "week": "%G week %V"}


class _Column(NamedTuple):
    """A column of the table: its head, and how a row gives the cell without and with the interval."""

    head: str
    brief: Callable[[Row], str]
    full: Callable[[Row], str]


def print_figures(rows: Sequence[Row], by: Sequence[str], every: str | None) -> None:
    """Print the figures with the columns that fit; say which are left out."""
    from lastaisle.feedback.metrics.figures import key_columns

    keys = key_columns(tuple(by))
    first = [_key("UTC", lambda row: f"{row['period']:{_PERIODS[every]}}")] if every else []
    first += [_key(key.removeprefix("model_"), lambda row, key=key: _text(row[key])) for key in keys]
    columns = [*first, *_columns(rows, by_position="position" in keys)]
    brief = [[column.brief(row) for row in rows] for column in columns]
    kept = len(columns)
    while kept > len(first) + 1 and _width(columns, brief[:kept]) > console.width:
        kept -= 1
    cells = brief[:kept]
    for number in range(kept):  # the intervals that fit as well, the most important first
        with_interval = [*cells]
        with_interval[number] = [columns[number].full(row) for row in rows]
        if _width(columns, with_interval) <= console.width:
            cells = with_interval
    table = Table()
    for number, column in enumerate(columns[:kept]):
        table.add_column(column.head, justify="left" if number < len(first) else "right")
    for row in zip(*cells, strict=True):
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    if kept < len(columns):
        console.print(
            f"not shown, since this terminal is too narrow: {', '.join(c.head for c in columns[kept:])}. "
            "--report writes all figures.",
            markup=False,
            highlight=False,
        )


def _width(columns: Sequence[_Column], cells: Sequence[Sequence[str]]) -> int:
    """Return the width of the table of the first columns: each has a border and two blanks."""
    widest = (max(map(cell_len, (column.head, *own))) for column, own in zip(columns, cells, strict=False))
    return sum(width + 3 for width in widest) + 1


def _columns(rows: Sequence[Row], *, by_position: bool) -> list[_Column]:
    """Return the columns of the figures, the most important first."""
    items = [_count("exposures"), _share("CTR", "ctr"), _share("to cart", "add_to_cart_rate")]
    if by_position:
        return [*items, _share("ordered", "order_rate"), _share("viewed", "view_rate")]
    currencies = [entry["currency"] for entry in rows[0]["revenue"]]
    return [
        *items[:2],
        _count("sessions"),
        _share("conversion", "conversion"),
        *(_revenue(place, currency) for place, currency in enumerate(currencies)),
        items[2],
        _share("checkouts completed", "checkout_completion"),
        _share("abandoned", "abandonment"),
        _mean("items viewed", "depth", ".1f"),
        _mean("seconds", "seconds", ",.0f"),
    ]


def _key(head: str, cell: Callable[..., str]) -> _Column:
    return _Column(head, cell, cell)


def _text(value: object) -> str:
    return "-" if value is None else one_line(str(value))


def _count(name: str) -> _Column:
    return _key(name, lambda row: "" if row[name] is None else f"{row[name]:,}")


def _share(head: str, name: str) -> _Column:
    def number(value: float) -> str:
        return f"{100 * value:.2f}"

    return _estimate(head, lambda row: (row[name], row[f"{name}_low"], row[f"{name}_high"]), number, " %")


def _mean(head: str, name: str, form: str) -> _Column:
    def number(value: float) -> str:
        return f"{value:{form}}"

    return _estimate(head, lambda row: (row[name], row[f"{name}_low"], row[f"{name}_high"]), number)


def _revenue(place: int, currency: str) -> _Column:
    head = "a session, no currency" if currency == "XXX" else f"{currency} a session"
    names = ("per_session", "per_session_low", "per_session_high")
    return _estimate(
        head, lambda row: tuple(row["revenue"][place][name] for name in names), lambda value: f"{value:,.2f}"
    )


def _estimate(
    head: str, of: Callable[[Row], Sequence[float | None]], number: Callable[[float], str], unit: str = ""
) -> _Column:
    """Return the column of a rate; a rate without a denominator is empty."""

    def brief(row: Row) -> str:
        value = of(row)[0]
        return "" if value is None else number(value) + unit

    def full(row: Row) -> str:
        _, low, high = of(row)
        return brief(row) + ("" if low is None or high is None else f" ({number(low)}-{number(high)})")

    return _Column(head, brief, full)
