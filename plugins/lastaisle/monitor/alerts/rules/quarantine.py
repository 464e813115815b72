"""The rule quarantine: more rows of a source are broken than its limit and its own past allow."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from math import sqrt

from pydantic import Field

from lastaisle.lake.tables import QUARANTINE as TABLE
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import QUARANTINE, Evidence, Finding
from lastaisle.monitor.alerts.rules.arrivals import Arrival, read_sources
from lastaisle.monitor.alerts.rules.words import share
from lastaisle.telemetry.shown import utc

_SURE = 3.3  # standard deviations: one false alarm in two thousand looks


class QuarantineOptions(RuleOptions):
    """The limits of quarantine."""

    share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="The share of broken rows that is always allowed.",
    )
    factor: float = Field(
        default=2.0,
        ge=1,
        le=100,
        description="The share of the past four weeks times this is allowed as well.",
    )
    hours: float = Field(
        default=24.0,
        gt=0,
        le=336,
        description="The arrivals that are judged together.",
    )
    least_rows: int = Field(
        default=100,
        ge=1,
        description="Fewer rows than this are not judged.",
    )


def check(context: Context[QuarantineOptions]) -> list[Finding]:
    """Find the sources of whose newest rows surely more than the limit are broken.

    The newest rows are those of the hours up to the source's last arrival. So the alert stays until sound
    rows come.
    """
    options = context.options
    findings = []
    for source in read_sources(context.lake, context.now):
        begin = source.arrivals[-1].at - timedelta(hours=options.hours)
        rows, broken = _counts(one for one in source.arrivals if one.at > begin)
        past_rows, past_broken = _counts(one for one in source.arrivals if one.at <= begin)
        past = past_broken / past_rows if past_rows >= options.least_rows else 0.0
        limit = min(max(options.share, options.factor * past), 0.999)
        if rows < options.least_rows or _surely(broken, rows) <= limit:
            continue
        since = next(one.at for one in source.arrivals if one.at > begin and one.rows_quarantined)
        query = (
            f"SELECT rules, count(*) FROM {TABLE} WHERE ingested_at > TIMESTAMPTZ '{begin.isoformat()}' "
            "GROUP BY rules ORDER BY 2 DESC"
        )
        findings.append(
            Finding(
                QUARANTINE,
                "warning",
                {"source": source.name},
                f"{broken:,} of {rows:,} rows of source {source.name} ({share(broken / rows)}) that came "
                f"since {utc(begin)} are broken. The limit is {share(limit)}; before, the share was "
                f"{share(past)}.",
                since,
                (
                    Evidence("The rules that the rows broke", table=TABLE, query=query),
                    Evidence("The rows by rule and source", query="lastaisle quarantine"),
                ),
            )
        )
    return findings


def _counts(arrivals: Iterable[Arrival]) -> tuple[int, int]:
    """Return the rows, and the broken rows among them."""
    listed = list(arrivals)
    return sum(one.rows_in for one in listed), sum(one.rows_quarantined for one in listed)


def _surely(broken: int, rows: int) -> float:
    """Return the lower end of the Wilson interval of a share: few rows are no proof."""
    mean, squared = broken / rows, _SURE**2
    centre = mean + squared / (2 * rows)
    spread = _SURE * sqrt(mean * (1 - mean) / rows + squared / (4 * rows**2))
    return (centre - spread) / (1 + squared / rows)
