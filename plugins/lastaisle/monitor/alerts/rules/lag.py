"""The rule lag: events from Kafka wait longer than usual before they are stored, or were lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pyarrow.compute as pc
from pydantic import Field

from lastaisle.lake.tables import GAPS
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import LAG, Evidence, Finding
from lastaisle.monitor.alerts.rules.arrivals import read_sources
from lastaisle.monitor.alerts.rules.words import span
from lastaisle.telemetry.shown import utc

_KAFKA = " kafka topic "  # in the name of a source; see lastaisle.ingest.kafka.drain.source_name


class LagOptions(RuleOptions):
    """The limits of lag."""

    minutes: float = Field(
        default=60.0,
        ge=1,
        le=40_320,
        description="The newest event of a batch may be older than this when stored.",
    )
    factor: float = Field(
        default=4.0,
        ge=1,
        le=100,
        description="The usual lag of the source times this is allowed as well.",
    )
    days: int = Field(
        default=7,
        ge=1,
        le=365,
        description="Messages that were lost longer ago are not told of.",
    )


def check(context: Context[LagOptions]) -> list[Finding]:
    """Find the topics that lag behind, and the messages that Kafka deleted before they were read."""
    return [*_lagging(context), *_lost(context)]


def _lagging(context: Context[LagOptions]) -> Iterator[Finding]:
    """Yield the topics whose newest batch is later than those before it.

    A topic that is read from its beginning lags from its first batch on, so its lag is usual and no finding.
    """
    options = context.options
    for source in read_sources(context.lake, context.now):
        lags = [(one.at - one.newest, one.at) for one in source.arrivals if one.newest is not None]
        if _KAFKA not in source.name or len(lags) < 3:
            continue
        past = sorted(lag for lag, _ in lags[:-1])
        usual = past[len(past) // 2]
        limit = max(timedelta(minutes=options.minutes), options.factor * usual)
        lag, at = lags[-1]
        if lag <= limit:
            continue
        since = at
        for earlier, earlier_at in reversed(lags):
            if earlier <= limit:
                break
            since = earlier_at
        query = (
            f"SELECT finished_at, finished_at - newest AS lag, rows_in FROM {source.table} "
            f"WHERE source LIKE '%{_KAFKA}%' ORDER BY finished_at DESC LIMIT 50"
        )
        yield Finding(
            LAG,
            "warning",
            {"source": source.name},
            f"The newest event of {source.name} was {span(lag)} old when it was stored at {utc(at)}. "
            f"Usual are {span(usual)}, and the limit is {span(limit)}.",
            since,
            (
                Evidence("The lag of each batch", table=source.table, query=query),
                Evidence("The messages that wait now", query="lastaisle lag"),
            ),
        )


def _lost(context: Context[LagOptions]) -> Iterator[Finding]:
    """Yield the topics of which Kafka deleted messages that no run had read."""
    if context.lake.version(GAPS) is None:
        return
    since = context.now - timedelta(days=context.options.days)
    rows = context.lake.scan(GAPS, where=pc.field("noticed_at") >= since).to_pylist()
    for topic in sorted({row["topic"] for row in rows}):
        gaps = [row for row in rows if row["topic"] == topic]
        lost = sum(row["end_offset"] - row["start_offset"] for row in gaps)
        first = min(row["noticed_at"] for row in gaps)
        yield Finding(
            LAG,
            "critical",
            {"lost_from": topic},
            f"Kafka deleted {lost:,} messages of topic {topic} before they were read; the newest gap was "
            f"noticed at {utc(max(row['noticed_at'] for row in gaps))}.",
            first,
            (Evidence("The gaps", table=GAPS, query=f"SELECT * FROM {GAPS} WHERE topic = '{topic}'"),),
        )
