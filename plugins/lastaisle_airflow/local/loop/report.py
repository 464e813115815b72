"""Print what the loop did: a line for each day, then the figures by day, version and arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from lastaisle_airflow.local.loop.counts import reconcile
from lastaisle_airflow.local.loop.shop import LoopShop
from lastaisle_airflow.local.loop.steps import TurnedDay

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

# Functions import the pipeline inside: the loop starts Airflow before it loads DuckDB.

MODEL, POPULAR = "model", "popular"
CART: Final = "cart"
"""Every session that sees a list sees one at the cart: there each session counts once."""
_RATES: Final = {
    "CTR %": "ctr",
    "added to cart %": "add_to_cart_rate",
    "conversion %": "conversion",
    "EUR a session": "per_session",
}
_COLUMNS: Final = {"version": "model_version", "arm": "arm"}
Row = Mapping[str, Any]


def print_day(console: Console, lake: Lake, turned: TurnedDay, *, first: bool) -> None:
    """Print one line of the table of days; the first line has the heading above it."""
    table = Table(show_header=first, box=None, padding=(0, 1, 0, 0), header_style="bold")
    for name, width in {"day": 10, "sessions": 8, "exposures": 9, "clicks": 6}.items():
        table.add_column(name, width=width, justify="left" if name == "day" else "right", no_wrap=True)
    for arm in (MODEL, POPULAR):
        table.add_column(f"CTR\n{arm}", width=7, justify="right", no_wrap=True)
    table.add_column("decision", width=14, no_wrap=True, overflow="fold")
    table.add_column("served after", width=12, justify="right", no_wrap=True)
    over = turned.over
    figures = _figures(lake, ("arm",), over.day) if over.truth and not turned.failed else {}
    exposures, clicks = (sum(row[name] for row in figures.values()) for name in ("exposures", "clicks"))
    colour = "red" if turned.failed else "green" if turned.decision.startswith("promoted") else "yellow"
    table.add_row(
        over.day.isoformat(),
        f"{over.sessions:,}",
        f"{exposures:,}" if figures else "-",
        f"{clicks:,}" if figures else "-",
        *(f"{figures[arm,]['ctr']:.2%}" if (arm,) in figures else "-" for arm in (MODEL, POPULAR)),
        "" if turned.failed else f"[{colour}]{turned.decision}[/]",
        "-" if over.followed is None else f"{over.followed:.1f} s",
    )
    console.print(table)
    if turned.failed:
        console.print(f"[{colour}]{turned.decision}[/]", highlight=False, soft_wrap=True)


def print_results(console: Console, lake: Lake, shop: LoopShop) -> bool:
    """Print the figures by day, version and arm, the comparison of the arms, and the counts.

    Returns:
        Whether all counts add up.
    """
    days = [over for number in range(len(shop.days)) if (over := shop.finished(number)) and over.truth]
    table = Table(
        title="\nWhat followed from the lists", title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    for name in ("day", "version", "arm", "sessions", "exposures", "CTR", "added to cart", "conversion"):
        table.add_column(name, justify="left" if name in ("day", "version", "arm") else "right", no_wrap=True)
    table.add_column("revenue a session", justify="right", no_wrap=True)
    for over in days:
        for (version, arm), row in _figures(lake, ("version", "arm"), over.day).items():
            table.add_row(over.day.isoformat(), version, arm, *_cells(row))
    totals = _figures(lake, ("arm",), None)
    for (arm,), row in totals.items():
        table.add_row("all days", "", arm, *_cells(row), style="bold")
    console.print(table)
    console.print(
        "[dim]In brackets: 95 % intervals. Exposures are of all lists; sessions are those that saw a list at "
        "the cart.[/]"
    )
    console.print("\n[bold]The model's lists against the popular items, on all days[/]")
    for sentence in compare(totals):
        console.print(sentence, highlight=False)
    return _print_counts(console, lake, [over.truth for over in days if over.truth])


def draw_chart(lake: Lake, file: Path) -> None:
    """Draw the figures of both arms at the cart, day by day."""
    from lastaisle.feedback.metrics.chart import draw
    from lastaisle.feedback.metrics.read import read_metrics

    figures = read_metrics(lake, by=("arm",), every="day", placement=CART)
    draw(figures, file, by=("arm",), every="day")


def compare(totals: Mapping[tuple[str, ...], Row]) -> list[str]:
    """Say for each rate whether the model beats the popular items.

    Args:
        totals: the figures of each arm, by the arm.
    """
    arms = [totals.get((arm,)) for arm in (MODEL, POPULAR)]
    if arms[0] is None or arms[1] is None:
        return ["One of the arms saw no lists, so the model cannot be compared with the popular items."]
    return [_comparison(label, name, *arms) for label, name in _RATES.items()]  # type: ignore[arg-type]


def _comparison(label: str, name: str, model: Row, popular: Row) -> str:
    if any(row[name] is None for row in (model, popular)):
        return f"  {label}: nothing was counted."
    difference, low, high = _difference(model, popular, name)
    if low > 0:
        verdict = "[green]the model beats the popular items[/]"
    elif high < 0:
        verdict = "[red]the model is worse than the popular items[/]"
    else:
        verdict = "[yellow]the model does not surely beat the popular items[/]"
    scale, places = (1, 2) if name == "per_session" else (100, 1)
    told = [f"{scale * value:+.{places}f}" for value in (difference, low, high)]
    return f"  {label}: {verdict}: {told[0]} \\[{told[1]}, {told[2]}]"


def _difference(one: Row, other: Row, name: str) -> tuple[float, float, float]:
    """Return the difference of two rates and its 95 % interval, by Newcombe's square-and-add method."""
    below = math.hypot(one[name] - one[f"{name}_low"], other[f"{name}_high"] - other[name])
    above = math.hypot(one[f"{name}_high"] - one[name], other[name] - other[f"{name}_low"])
    difference = one[name] - other[name]
    return difference, difference - below, difference + above


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


def _figures(lake: Lake, by: Sequence[str], day: date | None) -> dict[tuple[str, ...], Row]:
    """Return the figures of a day, or of all days: of all lists for items, of the cart for sessions."""
    from lastaisle.feedback.metrics.read import read_metrics

    span: dict[str, Any] = {"by": by, "every": None}
    if day is not None:
        span["since"] = datetime.combine(day, time(), UTC)
        span["until"] = span["since"] + timedelta(days=1)
    items, sessions = (
        {tuple(row[_COLUMNS[name]] for name in by): row for row in figures.to_pylist()}
        for figures in (read_metrics(lake, **span), read_metrics(lake, **span, placement=CART))
    )
    return {group: _joined(row, sessions.get(group)) for group, row in items.items()}


def _joined(items: Row, sessions: Row | None) -> Row:
    names = [f"conversion{end}" for end in ("", "_low", "_high")]
    joined = {**items, **{name: sessions[name] if sessions else None for name in names}}
    joined["sessions"] = sessions["sessions"] if sessions else 0
    listed = sessions["revenue"] if sessions else []
    money: Row = next((entry for entry in listed if entry["currency"] == "EUR"), {})
    ends = ("per_session", "per_session_low", "per_session_high")
    return joined | {name: money.get(name) for name in ends}


def _cells(row: Row) -> list[str]:
    return [f"{row['sessions']:,}", f"{row['exposures']:,}", *(_rate(row, name) for name in _RATES.values())]


def _rate(row: Row, name: str) -> str:
    if row[name] is None:
        return "-"
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if name == "per_session":
        return f"{value:.2f} \\[{low:.0f}, {high:.0f}]"
    return f"{100 * value:.1f} \\[{100 * low:.1f}, {100 * high:.1f}]"
