"""What the page Privacy shows of audits, requests, consents, accesses and the budget; no shopper."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from lastaisle.audit.checks import budget, consent, rights
from lastaisle.audit.finding import Audit, Finding
from lastaisle.audit.scope import NotKnown, Scope, not_known
from lastaisle.audit.store import newest
from lastaisle.dashboard.charts import Chart, Series
from lastaisle.errors import LastaisleError
from lastaisle.lake.tables import ACCESSES, AUDITS, CONSENTS, PRIVACY_SPENT, SUBJECT_REQUESTS, TRAINING_RUNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import date

    from lastaisle.dashboard.source import Source

DAYS: Final = 30


def read_audit(source: Source) -> Audit | None:
    """Return the newest audit; None if there was none."""
    return source.once("newest audit", [AUDITS], lambda: newest(source.lake))


def read_requests(source: Source, today: date) -> list[Finding]:
    """Return how requests of shoppers stand now."""
    return _live(source, today, "rights", SUBJECT_REQUESTS, rights.requests)


def read_decisions(source: Source, today: date) -> list[Finding]:
    """Return the decisions about purposes of the last days, by purpose and source."""
    return _live(source, today, "consent", CONSENTS, consent.decisions)


def read_accesses(source: Source, today: date) -> list[Finding]:
    """Return how often data of shoppers was shown in the last days."""
    return _live(source, today, "access", ACCESSES, rights.accesses)


def read_budget(source: Source, today: date) -> list[Finding]:
    """Return what the private trainings of a year spent."""
    return _live(source, today, "budget", PRIVACY_SPENT, budget.spent, TRAINING_RUNS)


def _live(
    source: Source,
    today: date,
    section: str,
    table: str,
    check: Callable[[Scope], Iterable[Finding]],
    *also: str,
) -> list[Finding]:
    """Return the findings of one check of the audit, over the last days up to now."""

    def ask() -> list[Finding]:
        now = datetime.combine(today + timedelta(days=1), time(), UTC)
        scope = Scope(source.lake, source.settings, today - timedelta(days=DAYS - 1), today, now)
        try:
            return list(check(scope))
        except (NotKnown, LastaisleError) as error:
            return [not_known(section, section, str(error).rstrip("."), f"SELECT * FROM {table}")]

    return source.once(("live", section, today), [table, *also], ask, is_slow=section == "budget")


def budget_chart(source: Source) -> Chart | None:
    """Return what each private training spent, over time; None without one."""
    rows = source.once("spent", [PRIVACY_SPENT], lambda: _spent(source))
    if not rows:
        return None
    total = sum(epsilon for _, epsilon in rows)
    return Chart(
        name="budget",
        title="Privacy budget: epsilon of each private training",
        x=[at for at, _ in rows],
        series=[Series("epsilon", [epsilon for _, epsilon in rows], style="points")],
        summary=f"{len(rows)} private trainings; added up, they spent epsilon {total:.2f}.",
        shows=(0,),
        origin="budget",
    )


def _spent(source: Source) -> list[tuple[datetime, float]]:
    rows = source.lake.scan(PRIVACY_SPENT, ["finished_at", "epsilon"])
    if not rows.num_rows:
        return []
    return [(row["finished_at"], row["epsilon"]) for row in rows.sort_by("finished_at").to_pylist()]
