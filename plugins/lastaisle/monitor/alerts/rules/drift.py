"""The rule drift: the newest day that was judged has alarms in the table drift."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, time
from typing import Any, Final

from lastaisle.lake.tables import DRIFT as TABLE
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import DRIFT, Evidence, Finding

_COLUMNS: Final = ["day", "feature", "segment", "score", "limit", "alarmed", "change", "measured_at"]


class DriftOptions(RuleOptions):
    """The limits of drift are those of the table drift; see the settings LASTAISLE_DRIFT_…."""


def check(context: Context[DriftOptions]) -> list[Finding]:
    """Find the features that drifted on the newest day that could be judged.

    The alert of a feature begins with the first day of the alarms that follow each other up to this day.
    """
    if context.lake.version(TABLE) is None:
        return []
    rows = _newest_measures(context.lake.scan(TABLE, _COLUMNS).to_pylist())
    judged = sorted({row["day"] for row in rows if row["limit"] is not None or row["alarmed"]})
    if not judged:
        return []
    alarms = defaultdict[str, dict[Any, list[dict[str, Any]]]](dict)
    for row in rows:
        if row["alarmed"]:
            alarms[row["feature"]].setdefault(row["day"], []).append(row)
    return [_finding(feature, by_day, judged) for feature, by_day in alarms.items() if judged[-1] in by_day]


def _newest_measures(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of each day's newest measurement."""
    newest: dict[Any, datetime] = {}
    for row in rows:
        newest[row["day"]] = max(newest.get(row["day"], row["measured_at"]), row["measured_at"])
    return [row for row in rows if row["measured_at"] == newest[row["day"]]]


def _finding(feature: str, by_day: dict[Any, list[dict[str, Any]]], judged: list[Any]) -> Finding:
    first = judged[-1]
    for day in reversed(judged):
        if day not in by_day:
            break
        first = day
    day = judged[-1]
    worst = max(by_day[day], key=lambda row: row["score"] / row["limit"] if row["limit"] else 1.0)
    limit = "" if worst["limit"] is None else f" (score {worst['score']:.3g}, limit {worst['limit']:.3g})"
    more = len(by_day[day]) - 1
    others = f", and in {more} more segment{'s' if more > 1 else ''}" if more else ""
    query = (
        f"SELECT segment, score, \"limit\", change FROM {TABLE} WHERE day = DATE '{day}' "
        f"AND feature = '{feature}' AND alarmed"
    )
    told = worst["change"] or f"{feature} changed"
    return Finding(
        DRIFT,
        "warning",
        {"feature": feature},
        f"On {day} {told} in segment {worst['segment']}{limit}{others}.",
        datetime.combine(first, time(), UTC),
        (
            Evidence("The scores of the feature", table=TABLE, query=query),
            Evidence("The whole report", query=f"lastaisle drift --day {day}"),
        ),
    )
