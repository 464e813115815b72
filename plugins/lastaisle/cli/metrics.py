"""The command that shows the shop's figures.

Imports stand inside the command, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from lastaisle.cli.options import Chart, LakeUrl, Report
from lastaisle.cli.terminal import console, errors, read_settings, write
from lastaisle.errors import NotEnoughDataError

if TYPE_CHECKING:
    from lastaisle.feedback.metrics.read import Reach

Row = Mapping[str, Any]

#: How far back the figures reach without --since: until the end of the table's last hour.
_SHOWN_BY_DEFAULT = {
    "hour": timedelta(days=1),
    "day": timedelta(days=7),
    "week": timedelta(weeks=8),
    "all": None,
}
_PERIODS = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "week": "%G week %V"}


class _Column(NamedTuple):
    """A column of the table: its head, and how a row gives the cell without and with the interval."""

    head: str
    brief: Callable[[Row], str]
    full: Callable[[Row], str]


def metrics(
    by: Annotated[
        str,
        typer.Option(
            help="Split the figures by placement, version, policy, experiment, arm, segment or position; by "
            "several with commas between. Default: by placement, if there are several."
        ),
    ] = "",
    every: Annotated[
        str, typer.Option(help="Sum up the figures of each hour, day or week (UTC), or all.")
    ] = "day",
    since: Annotated[
        str, typer.Option(help="From this day or time (UTC) on; default: the last days with figures.")
    ] = "",
    until: Annotated[
        str, typer.Option(help="Up to this day, the whole of it, or before this time (UTC).")
    ] = "",
    placement: Annotated[str, typer.Option(help="The figures of this placement only.")] = "",
    chart: Chart = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Show how the recommendations do: clicks, carts, orders, revenue and checkouts, with 95 % intervals.

    `lastaisle attribute` brings the figures up to date. Exits with 5 if there are no figures.
    """
    from lastaisle.feedback.metrics.count import is_stale
    from lastaisle.feedback.metrics.read import figures_reach, read_metrics
    from lastaisle.lake.opening import open_lake

    if every not in _SHOWN_BY_DEFAULT:
        raise typer.BadParameter(f"--every is hour, day, week or all; received {every!r}")
    start, end = _moment(since, "--since"), _moment(until, "--until", end_of_day=True)
    if start is not None and end is not None and start >= end:
        raise typer.BadParameter(f"--since {since} is not before --until {until}")
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    tables = open_lake(read_settings(lake))
    reach = figures_reach(tables)
    if not by and not placement and len(reach.placements) > 1:
        names = ("placement",)
    start = start or _default_start(reach, end, every)
    step = None if every == "all" else every
    figures = read_metrics(tables, by=names, every=step, since=start, until=end, placement=placement or None)
    if not figures.num_rows:
        raise NotEnoughDataError(_nothing_found(reach, start, end, placement))
    asked = {"by": names, "every": every, "since": start, "until": end, "placement": placement or None}
    rows = figures.to_pylist()
    write({**asked, "placements": reach.placements, "rows": rows}, report)
    _print(rows, names, step)
    if len(reach.placements) > 1 and not placement and "placement" not in names:
        console.print(
            f"A session, and its revenue, counts once for each placement ({', '.join(reach.placements)}): "
            "split by placement, or choose one by --placement.",
            markup=False,
            highlight=False,
        )
    if is_stale(tables):
        errors.print(
            "outcomes or events changed since they were counted: run lastaisle attribute", markup=False
        )
    if chart:
        from lastaisle.feedback.metrics.chart import draw

        draw(figures, chart, by=names, every=step)
        console.print(f"chart: {chart}", markup=False, highlight=False)


def _moment(text: str, option: str, *, end_of_day: bool = False) -> datetime | None:
    """Read a day or a time; of a day the end, if it is asked for."""
    if not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{option} is a day such as 2025-10-09 or a time such as 2025-10-09T12:00, received {text!r}"
        ) from error
    if not 1970 <= moment.year <= 9000:
        raise typer.BadParameter(f"{option}: a year from 1970 to 9000, received {moment.year}")
    is_day = len(text.strip()) == len("2025-10-09")
    return moment + timedelta(days=1) if is_day and end_of_day else moment


def _default_start(reach: Reach, end: datetime | None, every: str) -> datetime | None:
    """Return the start of the last periods with figures; None for all figures."""
    length = _SHOWN_BY_DEFAULT[every]
    if length is None:
        return None
    last = reach.last if end is None else min(end, reach.last)
    if every == "hour":
        return last - length
    newest = (last - timedelta(microseconds=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    if every == "week":
        newest += timedelta(days=6 - newest.weekday())
    return newest + timedelta(days=1) - length


def _nothing_found(reach: Reach, start: datetime | None, end: datetime | None, placement: str) -> str:
    if placement and placement not in reach.placements:
        return (
            f"no figures of the placement {placement!r}; there are figures of: {', '.join(reach.placements)}"
        )
    asked = f"from {start:%Y-%m-%d %H:%M}" if start else ""
    asked += f" to {end:%Y-%m-%d %H:%M}" if end else ""
    return (
        f"no figures {asked.strip()}; there are figures from {reach.first:%Y-%m-%d %H:%M} to "
        f"{reach.last:%Y-%m-%d %H:%M} (UTC): choose other days by --since and --until"
    )


def _print(rows: Sequence[Row], by: Sequence[str], every: str | None) -> None:
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
    return "-" if value is None else str(value)


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
