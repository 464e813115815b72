"""The rule late_data: a source brought rows again and again, and brings none now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise

from pydantic import Field

from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import LATE_DATA, Evidence, Finding
from lastaisle.monitor.alerts.rules.arrivals import Arrival, read_sources
from lastaisle.monitor.alerts.rules.words import span
from lastaisle.telemetry.shown import utc


class LateDataOptions(RuleOptions):
    """The limits of late_data."""

    factor: float = Field(
        default=1.5,
        ge=1,
        le=100,
        description="A source is late after its usual longest pause times this factor.",
    )
    minimum_minutes: float = Field(
        default=60,
        ge=0,
        le=40_320,
        description="No source is late before this time.",
    )
    least_days: int = Field(
        default=3,
        ge=2,
        le=28,
        description="On how many days of the last 28 a source has to bring rows to be judged.",
    )


def check(context: Context[LateDataOptions]) -> list[Finding]:
    """Find the sources whose last arrival is older than usual.

    The usual pause is the second longest of the longest pauses of each day, so that nights and weekends are
    usual, and one earlier outage is not.
    """
    findings = []
    for source in read_sources(context.lake, context.now):
        usual = usual_pause(source.arrivals, context.options.least_days)
        if usual is None:
            continue
        limit = max(context.options.factor * usual, timedelta(minutes=context.options.minimum_minutes))
        last = source.arrivals[-1].at
        if context.now - last <= limit:
            continue
        query = f"SELECT source, max(finished_at) FROM {source.table} GROUP BY source"
        findings.append(
            Finding(
                LATE_DATA,
                "warning",
                {"source": source.name},
                f"Source {source.name} last brought rows at {utc(last)}. Its longest usual pause is "
                f"{span(usual)}, and the limit is {span(limit)}.",
                last,
                (Evidence("The last arrival of each source", table=source.table, query=query),),
            )
        )
    return findings


def usual_pause(arrivals: Sequence[Arrival], least_days: int) -> timedelta | None:
    """Return the longest usual pause between arrivals; None if they came on too few days to tell."""
    if len({arrival.at.date() for arrival in arrivals}) < least_days:
        return None
    longest: dict[date, timedelta] = {}
    for before, after in pairwise(arrivals):
        day = after.at.date()
        longest[day] = max(longest.get(day, timedelta(0)), after.at - before.at)
    pauses = sorted(longest.values())
    return pauses[-2] if len(pauses) >= 4 else pauses[-1]
