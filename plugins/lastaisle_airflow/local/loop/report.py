"""Print what the loop did: a line for each day, then what was decided, and the figures by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lastaisle_airflow.local.loop.counts import reconcile
from lastaisle_airflow.local.loop.shop import LoopShop
from lastaisle_airflow.local.loop.steps import TurnedDay
from lastaisle_airflow.local.loop.story import print_story

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

# Functions import the pipeline inside: the loop starts Airflow before it loads DuckDB.

_RATES: Final = {
    "CTR %": "ctr",
    "added to cart %": "add_to_cart_rate",
    "conversion %": "conversion",
    "EUR a session": "per_session",
}
_BY: Final = {"experiment": "experiment", "arm": "arm", "version": "model_version"}
Row = Mapping[str, Any]


def print_day(console: Console, lake: Lake, turned: TurnedDay, *, first: bool) -> None:
    """Print one line of the table of days; the first line has the heading above it."""
    table = Table(show_header=first, box=None, padding=(0, 1, 0, 0), header_style="bold")
    for name, width in {"day": 10, "sessions": 8, "exposures": 9, "clicks": 6, "CTR": 7}.items():
        table.add_column(name, width=width, justify="left" if name == "day" else "right", no_wrap=True)
    table.add_column("training", width=14, no_wrap=True, overflow="fold")
    table.add_column("served after", width=12, justify="right", no_wrap=True)
    over = turned.over
    figures = _figures(lake, over.day) if over.truth and not turned.failed else []
    exposures, clicks = (sum(row[name] for row in figures) for name in ("exposures", "clicks"))
    colour = "red" if turned.failed else "green" if turned.decision.startswith("passed") else "yellow"
    table.add_row(
        over.day.isoformat(),
        f"{over.sessions:,}",
        f"{exposures:,}" if figures else "-",
        f"{clicks:,}" if figures else "-",
        f"{clicks / exposures:.2%}" if exposures else "-",
        "" if turned.failed else f"[{colour}]{turned.decision}[/]",
        "-" if over.followed is None else f"{over.followed:.1f} s",
    )
    console.print(table)
    if turned.failed:
        console.print(f"[{colour}]{turned.decision}[/]", highlight=False, soft_wrap=True)
    for sentence in over.events:
        console.print(f"           [dim]{escape(sentence)}[/]", highlight=False, soft_wrap=True)


def print_results(console: Console, lake: Lake, shop: LoopShop) -> bool:
    """Print what was decided, the figures by experiment, arm and version, and the counts.

    Returns:
        Whether all counts add up.
    """
    days = [over for number in range(len(shop.days)) if (over := shop.finished(number))]
    print_story(console, days)
    table = Table(
        title="\nWhat followed from the lists", title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    for name in (*_BY, "sessions", "exposures", *_RATES):
        table.add_column(name, justify="left" if name in _BY else "right", no_wrap=True)
    for row in _figures(lake):
        table.add_row(*(row[column] or "-" for column in _BY.values()), *_cells(row))
    console.print(table)
    console.print(
        "[dim]In brackets: 95 % intervals. Without an experiment: lists that the champion made for all.[/]"
    )
    return _print_counts(console, lake, [over.truth for over in days if over.truth])


def _print_counts(console: Console, lake: Lake, truths: Sequence[Mapping[str, Any]]) -> bool:
    found = reconcile(lake, truths)
    console.print("\n[bold]The counts, from the screen to the outcome[/]")
    for sentence in found.sentences:
        console.print(f"  {sentence}", highlight=False)
    for difference in found.differences:
        console.print(f"  [red]This does not add up: {difference}[/]", highlight=False)
    if not found.differences:
        console.print("  [green]All counts add up with what the simulated shop knows.[/]")
    return not found.differences


def _figures(lake: Lake, day: date | None = None) -> list[Row]:
    """Return the figures of a day, or of all days, by experiment, arm and version."""
    from lastaisle.feedback.metrics.read import read_metrics

    span: dict[str, Any] = {"by": tuple(_BY), "every": None}
    if day is not None:
        span["since"] = datetime.combine(day, time(), UTC)
        span["until"] = span["since"] + timedelta(days=1)
    return [_with_money(row) for row in read_metrics(lake, **span).to_pylist()]


def _with_money(row: Row) -> Row:
    money: Row = next((entry for entry in row["revenue"] or [] if entry["currency"] == "EUR"), {})
    return {
        **row,
        **{name: money.get(name) for name in ("per_session", "per_session_low", "per_session_high")},
    }


def _cells(row: Row) -> list[str]:
    return [f"{row['sessions']:,}", f"{row['exposures']:,}", *(_rate(row, name) for name in _RATES.values())]


def _rate(row: Row, name: str) -> str:
    if row[name] is None:
        return "-"
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if name == "per_session":
        return f"{value:.2f} \\[{low:.0f}, {high:.0f}]"
    return f"{100 * value:.1f} \\[{100 * low:.1f}, {100 * high:.1f}]"
