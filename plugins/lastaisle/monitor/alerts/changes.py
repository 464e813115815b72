"""The changes of alerts, and what alerts follow from them. Nothing here reads or writes a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from lastaisle.monitor.alerts.model import Alert, Evidence, Finding, Severity, Silence, id_of

Kind: TypeAlias = Literal["opened", "changed", "quiet", "resolved", "silenced", "unsilenced"]
OPENED: Final = "opened"
CHANGED: Final = "changed"
QUIET: Final = "quiet"
RESOLVED: Final = "resolved"
SILENCED: Final = "silenced"
UNSILENCED: Final = "unsilenced"

NO_LONGER_FOUND: Final = "the rule no longer finds it"
_RETOLD_EVERY: Final = timedelta(hours=1)
"""How often a new summary of the same severity is written: a growing figure does not fill the table."""


@dataclass(frozen=True)
class Change:
    """One row of the table `alerts`.

    Attributes:
        kind: opened, changed, quiet (the rule no longer finds the alert), resolved, silenced or unsilenced.
        at: when (UTC).
        rule: the name of the rule.
        scope: what is concerned; None for a silence of the whole rule.
        severity: of `opened` and `changed`.
        summary: of `opened` and `changed`.
        since: of `opened` and `changed`, when the problem began (UTC).
        evidence: of `opened` and `changed`.
        until: of `silenced`, when the silence ends.
        actor: the person, or the part of the pipeline.
        reason: of `resolved` and `silenced`, why.
        entry: the number of the row; -1 for a change that is not written.
    """

    kind: Kind
    at: datetime
    rule: str
    scope: Mapping[str, str] | None
    severity: Severity | None = None
    summary: str | None = None
    since: datetime | None = None
    evidence: tuple[Evidence, ...] = ()
    until: datetime | None = None
    actor: str = ""
    reason: str = ""
    entry: int = -1

    @property
    def alert_id(self) -> str | None:
        """The id of the alert; None for a silence of a whole rule."""
        return None if self.scope is None else id_of(self.rule, self.scope)


def found(alert: Alert | None, finding: Finding, at: datetime, actor: str) -> Change | None:
    """Return the change that a finding makes; None if the alert is open and says the same.

    Args:
        alert: the alert of this id, if there was ever one.
        finding: what a rule sees.
        at: now (UTC).
        actor: who looked.
    """
    told = Change(
        OPENED, at, finding.rule, dict(finding.scope), finding.severity, finding.summary, finding.since,
        finding.evidence, actor=actor,
    )  # fmt: skip
    if alert is None or not alert.is_open:
        return told
    since = min(alert.since, finding.since)
    is_retold = (alert.summary, alert.evidence, alert.since) != (finding.summary, finding.evidence, since)
    if (
        alert.severity != finding.severity
        or alert.quiet_since is not None
        or (is_retold and at - alert.changed_at >= _RETOLD_EVERY)
    ):
        return dataclasses.replace(told, kind=CHANGED, since=since)
    return None


def not_found(
    alert: Alert, at: datetime, actor: str, quiet: timedelta, reason: str = NO_LONGER_FOUND
) -> Change | None:
    """Return the change of an open alert that its rule no longer finds; None while its quiet time runs.

    Args:
        alert: the open alert.
        at: now (UTC).
        actor: who looked.
        quiet: how long the rule may not find the alert before the alert is resolved.
        reason: why it is resolved.
    """
    if quiet <= timedelta(0) or (alert.quiet_since is not None and at - alert.quiet_since >= quiet):
        return resolved(alert, at, actor, reason)
    if alert.quiet_since is None:
        return Change(QUIET, at, alert.rule, alert.scope, actor=actor)
    return None


def resolved(alert: Alert, at: datetime, actor: str, reason: str) -> Change:
    """Return the change that resolves an alert at once."""
    return Change(RESOLVED, at, alert.rule, alert.scope, actor=actor, reason=reason)


@dataclass
class Standing:
    """What the changes up to an entry make of the alerts.

    Attributes:
        alerts: each alert by its id, in its newest episode; without silences, since they end by the clock.
        silences: the newest silence by (rule, id of the alert); the id is None for a whole rule.
    """

    alerts: dict[str, Alert] = dataclasses.field(default_factory=dict)
    silences: dict[tuple[str, str | None], Silence] = dataclasses.field(default_factory=dict)

    def apply(self, change: Change) -> None:
        """Take one more change into account; changes come in the order of their entries."""
        target = (change.rule, change.alert_id)
        if change.kind == SILENCED:
            until = change.until or change.at
            self.silences[target] = Silence(until, change.actor, change.reason, change.at)
        elif change.kind == UNSILENCED:
            self.silences.pop(target, None)
        elif change.kind in (OPENED, CHANGED):
            self._tell(change)
        elif (alert := self.alerts.get(change.alert_id or "")) is not None and alert.is_open:
            values: dict[str, Any] = {"quiet_since": change.at}
            if change.kind == RESOLVED:
                values = {"state": "resolved", "resolved_at": change.at, "resolved_because": change.reason}
            self.alerts[alert.id] = dataclasses.replace(alert, changed_at=change.at, **values)

    def _tell(self, change: Change) -> None:
        """Open an alert, or change an open one."""
        assert change.severity is not None and change.summary is not None and change.since is not None
        scope = dict(change.scope or {})
        finding = (change.rule, change.severity, scope, change.summary, change.since, change.evidence)
        before = self.alerts.get(id_of(change.rule, scope))
        raised_at, episode = change.at, change.entry
        if before is not None and before.is_open:
            raised_at, episode = before.raised_at, before.episode
        alert = Alert(*finding, raised_at=raised_at, episode=episode, changed_at=change.at)
        self.alerts[alert.id] = alert

    def silence_of(self, rule: str, alert_id: str | None, now: datetime) -> Silence | None:
        """Return the silence of an alert or of its rule that holds at a moment, the longest of the two."""
        keys = ((rule, alert_id), (rule, None))
        holding = [one for key in keys if (one := self.silences.get(key)) and one.since <= now < one.until]
        return max(holding, key=lambda silence: silence.until, default=None)


def standing_after(changes: Iterable[Change]) -> Standing:
    """Return what all changes make of the alerts, oldest first."""
    standing = Standing()
    for change in changes:
        standing.apply(change)
    return standing
