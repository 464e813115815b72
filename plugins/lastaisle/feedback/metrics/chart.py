"""A chart of the shop's figures over time. Only this module imports matplotlib, so that reading need not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lastaisle.feedback.metrics.figures import group_name, key_columns
from lastaisle.telemetry.shown import one_line

Row = Mapping[str, Any]
Point = tuple[float | None, float | None, float | None]

MOST_LINES: Final = 8
MOST_CURRENCIES: Final = 2
LONGEST_LABEL: Final = 40
MOST_IN_A_ROW: Final = 160  # characters of the labels in a row of the legend
COLOURS: Final = (*("#1b6ca8", "#e0a030", "#2a9d5c", "#b0457b", "#5b5b5b", "#c0392b", "#6f4fb0", "#4fb0ae"),)
STEPS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


class Panel(NamedTuple):
    """One panel: its title, how a row gives value and interval, and whether it shows a share."""

    title: str
    point: Callable[[Row], Point]
    is_share: bool = False


class Line(NamedTuple):
    """One group: its label, and its rows."""

    label: str
    rows: Sequence[Row]

    @property
    def exposures(self) -> int:
        """The exposures of the group in all periods."""
        return sum(row["exposures"] for row in self.rows)


def draw(figures: pa.Table, file: Path, *, by: Sequence[str] = (), every: str | None = "day") -> None:
    """Draw the rates over time: a panel a rate, a line a group, bands of 95 % intervals.

    At most eight groups are drawn: those with the most exposures.

    Args:
        figures: what `read.read_metrics` returned for the same `by` and `every`.
        file: PNG or SVG file to write, by its suffix; its folder is made.
        by: by what the figures are split.
        every: hour, day or week; None draws one point a group.
    """
    keys = key_columns(tuple(by))
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in figures.to_pylist():
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    lines = [Line(_label(group_name(rows[0], keys)), rows) for rows in groups.values()]
    chosen = sorted(sorted(lines, key=lambda line: -line.exposures)[:MOST_LINES], key=lines.index)
    panels = _panels(figures, by_position="position" in keys)
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(11, 2.7 * rows + 1.2), dpi=100, layout="constrained")
    charts = figure.subplots(rows, 2, squeeze=False).ravel()
    for axes, panel in zip(charts, panels, strict=False):
        for place, line in enumerate(chosen):
            _draw_line(axes, panel, line.rows, every, place)
        _finish(axes, panel, every, [line.label for line in chosen])
    for axes in charts[len(panels) :]:
        axes.set_axis_off()
    _name_lines(figure, charts[0], chosen, len(lines), by)
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a sign that the font lacks is drawn as a box
        figure.savefig(file)


def _label(name: str) -> str:
    """Return a short label in one line; in Matplotlib a text between dollar signs would be a formula."""
    label = one_line(name)
    shortened = label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
    return shortened.replace("$", r"\$")


def _panels(figures: pa.Table, *, by_position: bool) -> list[Panel]:
    """Return the panels; by position, sessions are unknown and so are their rates."""
    items = [
        Panel("click-through rate, of exposures", _rate("ctr"), True),
        Panel("added to the cart, of exposures", _rate("add_to_cart_rate"), True),
        Panel("exposures", _count("exposures")),
    ]
    if by_position:
        return [*items[:2], Panel("ordered, of exposures", _rate("order_rate"), True), items[2]]
    money = _currencies(figures)
    more = f" (and {len(money) - MOST_CURRENCIES} more currencies)" if len(money) > MOST_CURRENCIES else ""
    return [
        *items[:2],
        Panel("conversion: sessions with an order", _rate("conversion"), True),
        Panel("completed checkouts, of checkouts", _rate("checkout_completion"), True),
        *(
            Panel(f"revenue a session, {currency}{more}", _revenue(place))
            for currency, place in list(money.items())[:MOST_CURRENCIES]
        ),
        Panel("sessions", _count("sessions")),
        items[2],
    ]


def _currencies(figures: pa.Table) -> dict[str, int]:
    """Return the currencies with their places in the rows: first the one in which most rows have revenue."""
    rows = [row["revenue"] for row in figures.to_pylist()]
    names = [entry["currency"] for entry in rows[0]] if rows else []
    earning = [sum(row[place]["revenue"] > 0 for row in rows) for place in range(len(names))]
    order = sorted(range(len(names)), key=lambda place: (-earning[place], names[place]))
    return {"no currency named" if names[place] == "XXX" else names[place]: place for place in order}


def _rate(name: str) -> Callable[[Row], Point]:
    return lambda row: (row[name], row[f"{name}_low"], row[f"{name}_high"])


def _count(name: str) -> Callable[[Row], Point]:
    return lambda row: (row[name], None, None)


def _revenue(place: int) -> Callable[[Row], Point]:
    names = ("per_session", "per_session_low", "per_session_high")

    def point(row: Row) -> Point:
        value, low, high = (row["revenue"][place][name] for name in names)
        return value, low, high

    return point


def _draw_line(axes: Any, panel: Panel, rows: Sequence[Row], every: str | None, number: int) -> None:
    """Draw one group. Periods without the group, or without a denominator, leave a gap."""
    points: dict[Any, Point] = (
        {row["period"]: panel.point(row) for row in rows} if every else {number: panel.point(rows[0])}
    )
    colour = COLOURS[number]
    places = _without_gaps(list(points), STEPS[every]) if every else list(points)
    nothing: Point = (None, None, None)
    values, low, high = (
        [float("nan") if number is None else number for number in numbers]
        for numbers in zip(*(points.get(place, nothing) for place in places), strict=True)
    )
    axes.plot(places, values, marker="o", markersize=3.5, linewidth=1.4, color=colour)
    if every:
        axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    # A single period has no width to fill, so the ends of the interval are drawn too.
    axes.vlines(places, low, high, color=colour, alpha=0.35 if every else 1, linewidth=1)


def _without_gaps(periods: Sequence[datetime], step: timedelta) -> list[datetime]:
    """Return every period from the first to the last."""
    first, last = min(periods), max(periods)
    return [first + step * number for number in range((last - first) // step + 1)]


def _finish(axes: Axes, panel: Panel, every: str | None, labels: Sequence[str]) -> None:
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.margins(x=0.03 if every else 0.2, y=0.1)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
    if panel.is_share:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if every:
        locator = AutoDateLocator(minticks=3, maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        axes.set_xticks(range(len(labels)), labels, rotation=20)


def _name_lines(figure: Figure, axes: Axes, chosen: Sequence[Line], groups: int, by: Sequence[str]) -> None:
    """Name the lines, with their exposures, and say which groups are left out."""
    title = "The shop's figures (UTC), 95 % intervals"
    if len(chosen) < groups:
        title += f"; the {len(chosen)} of {groups:,} groups with the most exposures"
    labels = [f"{line.label}: {line.exposures:,} exposures" for line in chosen]
    figure.legend(
        axes.get_lines(),
        labels,
        title=title + (f"; by {', '.join(by)}" if by else ""),
        loc="outside upper center",
        ncols=max(1, min(4, len(labels), MOST_IN_A_ROW // max(map(len, labels), default=1))),
        fontsize=8,
        title_fontsize=10,
    )
