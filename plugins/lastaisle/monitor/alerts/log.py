"""The table `alerts`: read the alerts, report and resolve one, silence one or a whole rule.

Each change is a row. Changes are decided on one version of the table, and written only if the table still has
this version. So two writers that see the same problem at the same moment open one alert.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake.errors import LakeConflictError
from lastaisle.lake.retries import ATTEMPTS, retry_overtaken
from lastaisle.lake.tables import ALERTS, ALERTS_SCHEMA
from lastaisle.monitor.alerts.changes import (
    CHANGED,
    OPENED,
    SILENCED,
    UNSILENCED,
    Change,
    Kind,
    Standing,
    found,
    resolved,
    standing_after,
)
from lastaisle.monitor.alerts.model import SEVERITIES, Alert, Evidence, Finding, Severity, id_of

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.lake.reader import LakeReader

PIPELINE: Final = "pipeline"
_CHANGES: Final = "changes"  # the key under which the table's log numbers its commits


class NoSuchAlertError(LastaisleError):
    """An id that no alert has, or a silence that cannot be."""

    exit_code = ExitCode.WRONG_REQUEST


@dataclass(frozen=True)
class AlertLog:
    """The table `alerts` as one process read it.

    Attributes:
        version: the version of the table; -1 if there is none yet.
        changes: all readable changes, the oldest first.
        next_entry: the number of the next row.
        problems: a sentence for each row that cannot be read.
    """

    version: int
    changes: tuple[Change, ...]
    next_entry: int = 0
    problems: tuple[str, ...] = ()

    @cached_property
    def standing(self) -> Standing:
        """What the changes make of the alerts."""
        return standing_after(self.changes)

    def alerts(self, now: datetime | None = None) -> dict[str, Alert]:
        """Return every alert in its newest episode, by its id, with the silence that holds now."""
        now = now or datetime.now(UTC)
        silence_of = self.standing.silence_of
        return {
            alert.id: dataclasses.replace(alert, silence=silence_of(alert.rule, alert.id, now))
            for alert in self.standing.alerts.values()
        }

    def open(self, now: datetime | None = None) -> list[Alert]:
        """Return the open alerts, the worst first, then the oldest; those that are silenced say so."""
        alerts = [alert for alert in self.alerts(now).values() if alert.is_open]
        return sorted(alerts, key=lambda alert: (-SEVERITIES.index(alert.severity), alert.raised_at))

    def recent(self, count: int) -> list[Change]:
        """Return the newest changes, the newest first."""
        return list(reversed(self.changes[-count:])) if count > 0 else []

    def find(self, start: str, now: datetime | None = None) -> Alert:
        """Return the alert whose id begins with a text.

        Raises:
            NoSuchAlertError: no id begins so, or several do.
        """
        fitting = [alert for alert in self.alerts(now).values() if start and alert.id.startswith(start)]
        if len(fitting) != 1:
            number = "no alert has" if not fitting else f"{len(fitting)} alerts have"
            raise NoSuchAlertError(
                f"{number} an id that begins with {start!r}: `lastaisle alerts` lists the open alerts, "
                "and `lastaisle alerts history` all changes"
            )
        return fitting[0]


def read_alerts(lake: LakeReader) -> AlertLog:
    """Read the table `alerts`. A row that cannot be read hides no other row; `problems` names it."""
    version = lake.version(ALERTS)
    if version is None:
        return AlertLog(-1, ())
    changes, problems, newest = [], [], -1
    for row in sorted(lake.scan(ALERTS, version=version).to_pylist(), key=lambda row: int(row["entry"])):
        newest = int(row["entry"])
        try:
            changes.append(_change_of(row))
        except (ValueError, TypeError) as error:  # msgspec's errors are ValueErrors
            problems.append(f"row {newest} of the table alerts, of the rule {row['rule']}: {error}")
    return AlertLog(version, tuple(changes), newest + 1, tuple(problems))


def commit(
    lake: Lake,
    decide: Callable[[AlertLog], Sequence[Change]],
    also: Mapping[str, int] | None = None,
) -> tuple[Change, ...]:
    """Decide on changes, and write them in one commit; decide again if another writer was faster.

    Args:
        lake: where the table is.
        decide: returns the changes that follow from the table; called again with the table as it is then.
        also: keys with their stamps, which the same commit writes.

    Returns:
        The changes that were written, with their entries.

    Raises:
        LakeConflictError: other writers won every attempt.
    """

    def attempt() -> tuple[Change, ...]:
        log = read_alerts(lake)
        changes = tuple(decide(log))
        if changes or also:
            _write(lake, changes, log, also)
        return changes

    lost = f"other writers won {ATTEMPTS} attempts to write into the table {ALERTS} of {lake.url}; run again"
    written: tuple[Change, ...] = retry_overtaken(lost, LakeConflictError)(attempt)
    return written


def report(lake: Lake, finding: Finding, *, actor: str = PIPELINE, now: datetime | None = None) -> Alert:
    """Open the alert of a finding, or change the open one; return the alert.

    The same finding written twice, also by two processes, is one alert.
    """
    at = now or datetime.now(UTC)

    def decide(log: AlertLog) -> list[Change]:
        change = found(log.standing.alerts.get(finding.id), finding, at, actor)
        return [] if change is None else [change]

    commit(lake, decide)
    return read_alerts(lake).alerts(at)[finding.id]


def resolve(
    lake: Lake,
    rule: str,
    scope: Mapping[str, str],
    *,
    reason: str = "",
    actor: str = PIPELINE,
    now: datetime | None = None,
) -> bool:
    """Resolve the open alert of a rule about a scope at once; False = there is none.

    Args:
        lake: where the table is.
        rule: the name of the rule.
        scope: the scope with which the alert was reported.
        reason: why it is resolved.
        actor: who resolves it.
        now: the moment; the present by default.
    """
    at = now or datetime.now(UTC)

    def decide(log: AlertLog) -> list[Change]:
        alert = log.standing.alerts.get(id_of(rule, scope))
        return [resolved(alert, at, actor, reason)] if alert is not None and alert.is_open else []

    return bool(commit(lake, decide))


def silence(
    lake: Lake,
    rule: str,
    scope: Mapping[str, str] | None,
    *,
    until: datetime,
    reason: str,
    actor: str,
    now: datetime | None = None,
) -> None:
    """Send no messages about an alert, or about all alerts of a rule, until a moment.

    Args:
        lake: where the table is.
        rule: the name of the rule.
        scope: the scope of one alert, which need not be open; None for the whole rule.
        until: when the silence ends by itself (UTC).
        reason: why, for others who look at the alerts.
        actor: who asks for it.
        now: the moment; the present by default.

    Raises:
        NoSuchAlertError: the end has passed already, or there is no reason.
    """
    at = now or datetime.now(UTC)
    if until <= at:
        raise NoSuchAlertError(f"a silence ends in the future, received {until.isoformat()}")
    if not reason.strip():
        raise NoSuchAlertError("a silence needs a reason, so that others know why no message comes")
    change = Change(SILENCED, at, rule, scope, until=until, actor=actor, reason=reason.strip())
    commit(lake, lambda _: [change])


def unsilence(
    lake: Lake, rule: str, scope: Mapping[str, str] | None, *, actor: str, now: datetime | None = None
) -> bool:
    """End a silence now; False = there was none with this scope."""
    at = now or datetime.now(UTC)

    def decide(log: AlertLog) -> list[Change]:
        held = log.standing.silences.get((rule, None if scope is None else id_of(rule, scope)))
        return [] if held is None or held.until <= at else [Change(UNSILENCED, at, rule, scope, actor=actor)]

    return bool(commit(lake, decide))


def _write(lake: Lake, changes: Sequence[Change], log: AlertLog, also: Mapping[str, int] | None) -> None:
    """Write changes in one commit.

    Raises:
        LakeConflictError: the table has another version than the log.
    """
    rows = [_row_of(change, log.next_entry + number) for number, change in enumerate(changes)]
    is_written = lake.append(
        ALERTS,
        pa.Table.from_pylist(rows, schema=ALERTS_SCHEMA),
        key=_CHANGES,
        stamp=max(log.version, 0) + 1,
        is_numbered=True,
        also=also,
        if_version=log.version,
    )
    if not is_written:  # another writer gave its commit this number
        raise LakeConflictError(f"table {ALERTS} of {lake.url} is no longer at version {log.version}")


def _row_of(change: Change, entry: int) -> dict[str, Any]:
    return {
        "entry": entry,
        "at": change.at.astimezone(UTC),
        "change": change.kind,
        "alert_id": change.alert_id,
        "rule": change.rule,
        "scope": None if change.scope is None else json.dumps(dict(change.scope)),
        "severity": change.severity,
        "summary": change.summary,
        "since": None if change.since is None else change.since.astimezone(UTC),
        "evidence": msgspec.json.encode(change.evidence).decode() if change.evidence else None,
        "until": None if change.until is None else change.until.astimezone(UTC),
        "actor": change.actor,
        "reason": change.reason,
    }


class _Row(msgspec.Struct, frozen=True):
    """The values of a row that have a type; see Change."""

    kind: Kind
    at: datetime
    rule: str
    scope: dict[str, str] | None
    severity: Severity | None
    summary: str | None
    since: datetime | None
    evidence: tuple[Evidence, ...]
    until: datetime | None
    actor: str
    reason: str
    entry: int


def _change_of(row: Mapping[str, Any]) -> Change:
    """Return the change of a row.

    Raises:
        ValueError: a value cannot be read, or a value that its kind needs is missing.
    """
    values = {**row, "kind": row["change"]}
    values["scope"] = None if row["scope"] is None else msgspec.json.decode(row["scope"])
    values["evidence"] = msgspec.json.decode(row["evidence"]) if row["evidence"] else ()
    values |= {name: row[name] or "" for name in ("actor", "reason")}
    read = msgspec.convert(values, _Row)
    told = (read.severity, read.summary, read.since)
    if read.kind in (OPENED, CHANGED) and None in told:
        raise ValueError("severity, summary or since is missing")
    if read.scope is None and read.kind not in (SILENCED, UNSILENCED):
        raise ValueError("the scope is missing")
    return Change(**{name: getattr(read, name) for name in read.__struct_fields__})
