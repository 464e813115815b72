"""The command that shows the shop's figures.

Imports stand inside the command, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from lastaisle.cli.figures import print_figures
from lastaisle.cli.options import Chart, LakeUrl, Report, moment_of
from lastaisle.cli.terminal import console, errors, read_settings, write
from lastaisle.errors import NotEnoughDataError
from lastaisle.telemetry.shown import one_line

if TYPE_CHECKING:
    from lastaisle.feedback.metrics.read import Reach

#: How far back the figures reach without --since: until the end of the table's last hour.
_SHOWN_BY_DEFAULT = {
    "hour": timedelta(days=1),
    "day": timedelta(days=7),
    "week": timedelta(weeks=8),
    "all": None,
}


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
    start, end = _span(since, until)
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
    print_figures(rows, names, step)
    if len(reach.placements) > 1 and not placement and "placement" not in names:
        _tell_of_placements(reach)
    if is_stale(tables):
        errors.print(
            "outcomes or events changed since they were counted: run lastaisle attribute", markup=False
        )
    if chart:
        from lastaisle.feedback.metrics.chart import draw

        draw(figures, chart, by=names, every=step)
        console.print(f"chart: {chart}", markup=False, highlight=False)


def _tell_of_placements(reach: Reach) -> None:
    console.print(
        f"A session, and its revenue, counts once for each placement ({_listed(reach)}): "
        "split by placement, or choose one by --placement.",
        markup=False,
        highlight=False,
    )


def _span(since: str, until: str) -> tuple[datetime | None, datetime | None]:
    """Read the start and the end; None where none is given."""
    start, end = moment_of(since, "--since"), moment_of(until, "--until", end_of_day=True)
    if start is not None and end is not None and start >= end:
        raise typer.BadParameter(f"--since {since} is not before --until {until}")
    return start, end


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
        return f"no figures of the placement {placement!r}; there are figures of: {_listed(reach)}"
    asked = f"from {start:%Y-%m-%d %H:%M}" if start else ""
    asked += f" to {end:%Y-%m-%d %H:%M}" if end else ""
    return (
        f"no figures {asked.strip()}; there are figures from {reach.first:%Y-%m-%d %H:%M} to "
        f"{reach.last:%Y-%m-%d %H:%M} (UTC): choose other days by --since and --until"
    )


def _listed(reach: Reach) -> str:
    return ", ".join(map(one_line, reach.placements))
