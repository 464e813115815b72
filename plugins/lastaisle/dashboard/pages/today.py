"""The page Today: which version serves, how fresh the data is, what was decided, and what needs a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from typing import TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from lastaisle.dashboard.charts import Chart, Series
from lastaisle.dashboard.figures.moves import read_moves, sentence, tone
from lastaisle.dashboard.figures.reports import Measured, measured_in
from lastaisle.dashboard.figures.today import (
    Arrivals,
    Champion,
    Volume,
    find_arrivals,
    find_volume,
    newest_moves,
    read_champion,
)
from lastaisle.dashboard.origin import Origin
from lastaisle.dashboard.render import PagesOf, Problem, attempt
from lastaisle.dashboard.source import Source
from lastaisle.experiments.traffic import TrafficLog, read_traffic
from lastaisle.lake.tables import (
    ALERTS,
    BATCHES,
    CATALOGUE_BATCHES,
    EVENTS,
    EXPOSURE_BATCHES,
    RELEASES,
    TRAFFIC,
)
from lastaisle.monitor.alerts.log import AlertLog, read_alerts
from lastaisle.registry.ledger import Move

T = TypeVar("T")
router = APIRouter()

METRIC = "recall@20"
_ARRIVALS = (BATCHES, EXPOSURE_BATCHES, CATALOGUE_BATCHES, EVENTS)


@router.get("/")
def today(request: Request, pages: PagesOf) -> HTMLResponse:
    """Show the page."""
    source = pages.source
    read = Reader(source)
    champion, alerts, volume = read.champion(), read.alerts(), read.volume()
    return pages.render(
        request,
        "today",
        title="Today",
        champion=champion,
        measured=attempt(lambda: _measured(source, champion)),
        metric=METRIC,
        alerts=alerts if isinstance(alerts, Problem) else alerts.open(pages.now()),
        unread=() if isinstance(alerts, Problem) else alerts.problems,
        waiting=attempt(pages.waiting),
        arrivals=read.arrivals(),
        volume=volume,
        chart=volume_chart(volume) if isinstance(volume, Volume) else None,
        moves=read.moves(),
        sentence=sentence,
        tone=tone,
        traffic=read.traffic(),
        origins=_origins(source, champion),
    )


class Reader:
    """Reads the parts of the page, each computed once for all visitors.

    Args:
        source: what the pages read.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def champion(self) -> Champion | Problem | None:
        """Return the version that serves."""
        return attempt(lambda: read_champion(self._source))

    def moves(self) -> list[Move] | Problem:
        """Return the newest decisions."""
        return self._part("newest moves", [RELEASES], lambda source: newest_moves(read_moves(source)))

    def alerts(self) -> AlertLog | Problem:
        """Return all alerts."""
        return self._part("alerts", [ALERTS], lambda source: read_alerts(source.lake))

    def volume(self) -> Volume | Problem | None:
        """Return the events of the last days."""
        return self._part("volume", [EVENTS], find_volume)

    def arrivals(self) -> list[Arrivals] | Problem:
        """Return how fresh the data is."""
        return self._part("arrivals", _ARRIVALS, find_arrivals)

    def traffic(self) -> TrafficLog | Problem:
        """Return the trials."""
        return self._part("traffic", [TRAFFIC], lambda source: read_traffic(source.lake))

    def _part(self, name: str, tables: Sequence[str], find: Callable[[Source], T]) -> T | Problem:
        return attempt(lambda: self._source.once(name, tables, lambda: find(self._source)))


def begin(source: Source) -> None:
    """Read what the page shows, before somebody asks."""
    read = Reader(source)
    champion = read.champion()
    for part in (read.moves, read.alerts, read.volume, read.arrivals, read.traffic):
        part()
    attempt(lambda: _measured(source, champion))


def _measured(source: Source, champion: Champion | Problem | None) -> Measured | None:
    return measured_in(source, champion.run_id) if isinstance(champion, Champion) else None


def volume_chart(volume: Volume) -> Chart:
    """Return the events of each day as a chart."""
    days = sorted(volume.rows)
    usual = (
        f"The median of the {volume.days_before} days before is {volume.usual:,.0f}." if volume.usual else ""
    )
    return Chart(
        name="volume",
        title="Events a day",
        x=[datetime.combine(day, time(), UTC) for day in days],
        series=[Series("events", [volume.rows[day] for day in days], style="bars")],
        unit="count",
        summary=f"{volume.rows[volume.day]:,} events on {volume.day}. {usual}",
        origin="volume",
    )


def _origins(source: Source, champion: Champion | Problem | None) -> list[Origin]:
    known = champion if isinstance(champion, Champion) else None
    return [
        Origin("champion", "The ledger: each move of a version.", RELEASES, query="lastaisle releases"),
        *(
            [Origin("score", "The evaluation of the champion, in its run.", run_id=known.run_id)]
            if known
            else []
        ),
        Origin("alerts", "Each change of an alert.", ALERTS, query="lastaisle alerts"),
        Origin(
            "arrivals",
            "The batches that were taken in.",
            BATCHES,
            query=f"SELECT max(newest), max(finished_at) FROM {BATCHES}",
        ),
        Origin(
            "volume",
            "The events of each day (UTC) on which they happened.",
            EVENTS,
            query=f"SELECT event_date, count(*) FROM {EVENTS} GROUP BY event_date ORDER BY event_date",
        ),
        Origin("trials", "Each move of an experiment, a bandit, a canary or a shadow.", TRAFFIC),
    ]
