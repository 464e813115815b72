"""Ask all questions of the audit. A question that cannot be answered is told, and never counts as kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

from lastaisle.audit.checks import anonymity, budget, consent, keys, retention, rights
from lastaisle.audit.data_map import map_findings, read_map
from lastaisle.audit.finding import Audit, Finding, Table
from lastaisle.audit.scope import NotKnown, Scope, not_known
from lastaisle.errors import LastaisleError

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

Check = Callable[[Scope], Iterable[Finding]]

#: Each check with its section, its name, and the evidence that a person would look at.
CHECKS: Final[tuple[tuple[str, str, str, Check], ...]] = (
    ("map", "tables", "lastaisle tables", map_findings),
    ("retention", "ages of rows", "lastaisle maintain --dry-run", retention.ages),
    ("retention", "files of deleted rows", "lastaisle maintain --dry-run", retention.files),
    ("rights", "requests", "SELECT * FROM subject_requests ORDER BY entry", rights.requests),
    ("consent", "flags of events", consent.FLAGS, consent.flags),
    ("consent", "decisions", consent.DECISIONS, consent.decisions),
    ("anonymity", "device, region and hour", anonymity.GROUPS, anonymity.groups),
    ("personal data", "values in fields", anonymity.HITS, anonymity.hits),
    ("budget", "private trainings", budget.SPENT, budget.spent),
    ("access", "requests to see data", rights.ACCESSES_SHOWN, rights.accesses),
    ("keys", "age of the key", "lastaisle keys show", keys.age),
    ("keys", "key file", "lastaisle keys show", keys.file),
    ("keys", "key of receipts", "lastaisle subjects list", keys.receipt_key),
    ("keys", "folder of requests", "lastaisle subjects list", keys.inbox),
)


def audit(
    lake: Lake, settings: Settings, first_day: date, last_day: date, *, now: datetime | None = None
) -> Audit:
    """Ask all questions about some days.

    Args:
        lake: the tables.
        settings: the settings of the installation.
        first_day: the first day (UTC).
        last_day: the last day.
        now: the moment from which ages count; the current time by default.

    Returns:
        The findings, the failed ones first, and the data map.
    """
    scope = Scope(lake, settings, first_day, last_day, now or datetime.now(UTC))
    findings = [finding for check in CHECKS for finding in _asked(scope, *check)]
    tables: list[Table] = []
    try:
        tables = read_map(scope)
    except LastaisleError as error:
        findings.append(not_known("map", "data map", error, "lastaisle tables"))
    return Audit.of((first_day, last_day), scope.now, findings, tables)


def _asked(scope: Scope, section: str, name: str, evidence: str, check: Check) -> Iterator[Finding]:
    """Return the findings of one check; what cannot be read is not known, with the reason."""
    try:
        yield from list(check(scope))
    except (NotKnown, LastaisleError) as error:
        yield not_known(section, name, str(error).rstrip("."), evidence)
