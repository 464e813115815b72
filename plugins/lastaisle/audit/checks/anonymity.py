"""Whether device, region and hour single out shoppers, and whether fields hold personal data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Final

from lastaisle.audit.finding import Finding, State
from lastaisle.audit.scope import Scope, judged
from lastaisle.lake.tables import BATCHES, CATALOGUE_BATCHES, EVENTS, EXPOSURE_BATCHES

K: Final = 20
"""Counts where the shop leaves nothing out, so that the audit tells what that gives away."""
GROUPS: Final = (
    "SELECT device_type, country, region, date_trunc('hour', occurred_at), "
    "count(DISTINCT coalesce(user_id, session_id)) FROM events GROUP BY ALL"
)
HITS: Final = "SELECT source, personal_data FROM batches WHERE personal_data <> '{}'"
_SINGLED: Final = f"""
WITH classes AS (
    SELECT count(DISTINCT coalesce(user_id, session_id)) AS shoppers, count(*) AS events
    FROM {EVENTS}
    WHERE event_date >= $begin::DATE AND event_date < $end::DATE
        AND (device_type IS NOT NULL OR country IS NOT NULL OR region IS NOT NULL)
    GROUP BY device_type, country, region, date_trunc('hour', occurred_at)
)
SELECT count(*), count(*) FILTER (WHERE shoppers < K), sum(events) FILTER (WHERE shoppers < K), sum(events),
    min(shoppers)
FROM classes
"""


def groups(scope: Scope) -> Iterator[Finding]:
    """Tell in how many groups of device, place and hour fewer than k shoppers are."""
    k = scope.settings.privacy.k_anonymity or K
    sql = _SINGLED.replace("< K", f"< {k}")
    columns = ("device_type", "country", "region", "occurred_at", "user_id", "session_id")
    ((classes, small, inside, events, least),) = scope.rows(EVENTS, sql, *columns)
    share = 0.0 if not events else (inside or 0) / events
    told = f"Each of {classes} groups of device, place and hour has at least {least} shoppers (k = {k})."
    if small:
        told = (
            f"{small} of {classes} groups of device, place and hour have fewer than {k} shoppers: "
            f"{share:.1%} of the events with a device or a place."
        )
    elif not classes:
        told = "No event of these days has a device or a place."
    yield Finding("anonymity", "device, place and hour", judged(not small), told, GROUPS, share)


def hits(scope: Scope) -> Iterator[Finding]:
    """Tell how many values of persons were found, and taken out, in fields where none belongs."""
    for table in (BATCHES, EXPOSURE_BATCHES, CATALOGUE_BATCHES):
        if table != BATCHES and scope.lake.version(table) is None:
            continue
        sql = f"SELECT personal_data FROM {table} WHERE finished_at >= $begin AND finished_at < $end"
        counted: Counter[str] = Counter()
        for (text,) in scope.rows(table, sql, "personal_data"):
            counted.update(_by_kind(text))
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counted.items())) or "none"
        told = f"Values of persons that were taken out of rows of {table}: {listed}."
        name = f"values in {table}"
        evidence = HITS.replace(BATCHES, table)
        yield Finding("personal data", name, State.OK, told, evidence, counted.total())


def _by_kind(text: str | None) -> dict[str, int]:
    """Return the counts of a batch by field, or by field and kind, as the batch wrote them."""
    found = {}
    for field, counts in json.loads(text or "{}").items():
        for kind, count in counts.items() if isinstance(counts, dict) else [("", counts)]:
            found[f"{kind} in {field}" if kind else str(field)] = int(count)
    return found
