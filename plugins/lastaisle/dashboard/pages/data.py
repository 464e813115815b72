"""The page Data: whether the data came, how much, how late, and which rows and files were kept out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from lastaisle.dashboard.charts import Chart, Series
from lastaisle.dashboard.figures.data import (
    SHOWN,
    Batch,
    Every,
    Volume,
    contract_uses,
    read_batches,
    read_days,
    read_gaps,
    read_refused,
    read_volume,
    short_names,
)
from lastaisle.dashboard.figures.quarantine import SHAPES_SHOWN, broken_rules, read_shapes, read_words
from lastaisle.dashboard.origin import Origin
from lastaisle.dashboard.paging import chosen
from lastaisle.dashboard.render import PagesOf, attempt, known
from lastaisle.dashboard.source import Source
from lastaisle.lake.tables import (
    BATCHES,
    CATALOGUE_BATCHES,
    EVENTS,
    EXPOSURE_BATCHES,
    GAPS,
    QUARANTINE,
    REFUSED_FILES,
)

router = APIRouter()
BATCHES_SHOWN: Final = 15
ROWS_SHOWN: Final = 20
QUARANTINE_DAYS: Final = 30
LAG_BATCHES: Final = 300


@router.get("/data")
def data(request: Request, pages: PagesOf, by: str = "day") -> HTMLResponse:
    """Show the page."""
    every: Every = "hour" if chosen(by, SHOWN, "by") == "hour" else "day"
    source, now = pages.source, pages.now()
    batches = attempt(lambda: read_batches(source))
    volume = attempt(lambda: read_volume(source, every))
    arrived = known(batches) or ()
    recent = _recent(arrived)
    return pages.render(
        request,
        "data",
        title="Data",
        by=every,
        batches=batches,
        newest=arrived[:BATCHES_SHOWN],
        days=attempt(lambda: read_days(source, now.date())),
        volume=volume,
        volume_chart=_volume_chart(known(volume), every),
        lag_chart=_lag_chart(arrived),
        late_chart=_late_chart(arrived),
        rules=broken_rules(recent, known(attempt(lambda: read_words(source))) or {}),
        rows_judged=sum(batch.rows["in"] for batch in recent),
        quarantine_days=QUARANTINE_DAYS,
        shapes=attempt(lambda: read_shapes(source)),
        shapes_shown=SHAPES_SHOWN,
        contracts=contract_uses(arrived),
        gaps=attempt(lambda: source.once("gaps", [GAPS], lambda: read_gaps(source.lake))),
        refused=attempt(lambda: source.once("refused", [REFUSED_FILES], lambda: read_refused(source.lake))),
        rows_shown=ROWS_SHOWN,
        origins=_origins(every),
    )


def _recent(batches: Sequence[Batch]) -> list[Batch]:
    """Return the batches of the last days before the newest arrival."""
    if not batches:
        return []
    since = batches[0].arrived - timedelta(days=QUARANTINE_DAYS)
    return [batch for batch in batches if batch.arrived > since]


def _volume_chart(volume: Volume | None, every: Every) -> Chart | None:
    if volume is None:
        return None
    names = short_names(volume.sources)
    totals = [sum(values) for values in zip(*volume.sources.values(), strict=True)]
    newest = f"{totals[-1]:,} in the newest {every}, {max(totals):,} at most." if totals else ""
    one = len(volume.sources) == 1
    return Chart(
        name="volume",
        title=f"Events of each {every}, by source",
        x=volume.moments,
        series=[
            Series(names[name], values, style="bars" if one and every == "day" else "line")
            for name, values in volume.sources.items()
        ],
        unit="count",
        summary=newest,
        origin="volume",
    )


def _lag_chart(batches: Sequence[Batch]) -> Chart | None:
    """Return the hours from the newest event of each batch to its arrival, one line a feed."""
    known_lags = [batch for batch in batches if batch.lag is not None][:LAG_BATCHES][::-1]
    if not known_lags:
        return None
    hours = [_hours(batch) for batch in known_lags]
    return Chart(
        name="lag",
        title="Lag: hours from the newest event of a batch to its arrival",
        x=[batch.arrived for batch in known_lags],
        series=_by_feed(known_lags, hours),
        summary=f"{hours[-1]:,.1f} hours for the newest batch.",
        origin="lag",
    )


def _hours(batch: Batch) -> float:
    assert batch.lag is not None, "only batches whose lag is known"
    return batch.lag / timedelta(hours=1)


def _late_chart(batches: Sequence[Batch]) -> Chart | None:
    """Return the share of late rows of each batch of events and exposures."""
    own = [batch for batch in batches if batch.feed != "catalogue" and batch.rows["in"]][:LAG_BATCHES][::-1]
    if not own:
        return None
    shares = [batch.rows["late"] / batch.rows["in"] for batch in own]
    return Chart(
        name="late",
        title="Late rows: share of the rows of each batch",
        x=[batch.arrived for batch in own],
        series=_by_feed(own, shares),
        unit="share",
        summary=f"{shares[-1]:.2%} of the newest batch.",
        origin="late",
    )


def _by_feed(batches: Sequence[Batch], values: Sequence[float]) -> list[Series]:
    """Return one series of points a feed; `values` holds one value a batch."""
    found = list(zip(batches, values, strict=True))
    return [
        Series(feed, [value if batch.feed == feed else None for batch, value in found], style="points")
        for feed in dict.fromkeys(batch.feed for batch in batches)
    ]


def _origins(every: Every) -> list[Origin]:
    of_all = f"{BATCHES}, {EXPOSURE_BATCHES} and {CATALOGUE_BATCHES}"
    return [
        Origin(
            "days",
            "The events of each day (UTC) on which they happened.",
            EVENTS,
            query=f"SELECT event_date, count(*) FROM {EVENTS} GROUP BY event_date ORDER BY event_date",
        ),
        Origin(
            "volume",
            f"The events of each {every} and source.",
            EVENTS,
            query=f"SELECT date_trunc('{every}', occurred_at), source, count(*)\n"
            f"FROM {EVENTS} JOIN {BATCHES} USING (batch_id) GROUP BY ALL ORDER BY ALL",
        ),
        Origin(
            "batches",
            f"The batches that were taken in: the tables {of_all}.",
            BATCHES,
            query="SELECT source, rows_in, rows_clean, rows_quarantined, rows_duplicate, rows_late, "
            f"finished_at\nFROM {BATCHES} ORDER BY finished_at DESC",
        ),
        Origin(
            "lag",
            "The lag of each batch.",
            BATCHES,
            query=f"SELECT finished_at, finished_at - newest AS lag FROM {BATCHES} ORDER BY finished_at",
        ),
        Origin(
            "late",
            "The late rows of each batch.",
            BATCHES,
            query=f"SELECT finished_at, rows_late / rows_in FROM {BATCHES} ORDER BY finished_at",
        ),
        Origin(
            "quarantine",
            f"The rows that broke each rule, in the batches of the last {QUARANTINE_DAYS} days of arrivals.",
            QUARANTINE,
            query=f"SELECT unnest(rules) AS rule, count(*) FROM {QUARANTINE} GROUP BY rule "
            "ORDER BY count(*) DESC",
        ),
        Origin(
            "contracts",
            "The versions of the contracts that judged the batches.",
            BATCHES,
            query="SELECT contract_version, min(finished_at), max(finished_at), count(*), sum(rows_in)\n"
            f"FROM {BATCHES} GROUP BY contract_version",
        ),
        Origin("gaps", "Offsets that were deleted before they were read.", GAPS, query=f"FROM {GAPS}"),
        Origin(
            "refused", "Files that were refused as a whole.", REFUSED_FILES, query=f"FROM {REFUSED_FILES}"
        ),
    ]


def begin(source: Source) -> None:
    """Read what the page shows, before somebody asks."""
    read_days(source, datetime.now(UTC).date())
    read_volume(source, "day")
    read_shapes(source)
    read_words(source)
