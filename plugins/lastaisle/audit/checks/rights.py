"""Whether requests of shoppers are answered in time, and who asked to see data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from lastaisle.audit.finding import Finding, State
from lastaisle.audit.scope import Scope, judged
from lastaisle.lake.tables import ACCESSES, SUBJECT_REQUESTS

ACCESSES_QUERY: Final = 'SELECT what, outcome, count(*) FROM accesses WHERE "at" >= $begin AND "at" < $end'
ACCESSES_SHOWN: Final = "SELECT * FROM accesses ORDER BY 1"
_REQUESTS: Final = f"""
SELECT kind, max_by(state, entry) AS state, min("at") AS asked, max("at") AS changed,
    max_by(due_at, entry) AS due, max_by(receipt, entry) AS receipt
FROM {SUBJECT_REQUESTS} GROUP BY request_id, kind
"""
_NEWEST: Final = (
    "SELECT request_id, max_by(state, entry), max_by(due_at, entry) FROM subject_requests GROUP BY 1"
)


def requests(scope: Scope) -> Iterator[Finding]:
    """Tell which requests wait, which are overdue, which failed, and whether erasures have receipts."""
    found = scope.rows(
        SUBJECT_REQUESTS, _REQUESTS, "entry", "request_id", "kind", "state", "due_at", "receipt"
    )
    waiting = [row for row in found if row[1] in ("asked", "working", "failed")]
    overdue = [row for row in waiting if row[4] is not None and row[4] < scope.now]
    failed = [row for row in found if row[1] == "failed"]
    unproven = [row for row in found if row[0] == "erase" and row[1] == "done" and not row[5]]
    asked = [row for row in found if _within(scope, row[2])]
    kinds = Counter(row[0] for row in asked)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
    told = f"Requests of these days: {listed}."
    yield Finding("rights", "requests of these days", State.OK, told, _NEWEST, len(asked))
    for name, rows, words in (
        ("overdue requests", overdue, f"Open requests past their day: {len(overdue)} of {len(waiting)}"),
        ("failed requests", failed, f"Failed requests, which wait for a person: {len(failed)}"),
        ("receipts of erasures", unproven, f"Finished erasures without a signed receipt: {len(unproven)}"),
    ):
        yield Finding("rights", name, judged(not rows), f"{words}.", _NEWEST, len(rows))
    yield Finding("rights", "time to answer", State.OK, _slowest(scope, found), _NEWEST)


def _within(scope: Scope, moment: datetime) -> bool:
    return scope.begin <= moment < scope.end


def _slowest(scope: Scope, found: list[tuple[Any, ...]]) -> str:
    done = [row[3] - row[2] for row in found if row[1] == "done" and _within(scope, row[3])]
    if not done:
        return "No request was finished in these days."
    hours = max(done).total_seconds() / 3600
    return f"Requests that were finished in these days: {len(done)}; the slowest took {hours:.1f} hours."


def accesses(scope: Scope) -> Iterator[Finding]:
    """Tell how often data of shoppers was shown, and how often that was refused."""
    sql = f"{ACCESSES_QUERY} GROUP BY ALL ORDER BY ALL"
    found = scope.rows(ACCESSES, sql, "at", "what", "outcome", "reason")
    refused = sum(count for _, outcome, count in found if outcome == "refused")
    shown = sum(count for _, _, count in found) - refused
    told = f"Requests to see data of shoppers in these days: {shown} shown, {refused} refused."
    yield Finding("access", "requests to see data", State.OK, told, ACCESSES_SHOWN, shown)
    without = (
        f"SELECT count(*) FROM {ACCESSES} "
        "WHERE \"at\" >= $begin AND \"at\" < $end AND coalesce(reason, '') = ''"
    )
    ((unexplained,),) = scope.rows(ACCESSES, without)
    told = f"Requests to see data without a reason: {unexplained}."
    yield Finding("access", "reasons", judged(not unexplained), told, ACCESSES_SHOWN, unexplained)
