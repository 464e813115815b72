"""The messages that follow from the changes of alerts: grouped, repeated, and not for silenced alerts.

The same changes give the same messages with the same ids at each run. So a message that was sent is not sent
again, and a run after a kill sends the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from lastaisle.delivery.notice import Notice
from lastaisle.monitor.alerts.changes import CHANGED, OPENED, RESOLVED, Change, Standing
from lastaisle.monitor.alerts.config import AlertConfig
from lastaisle.monitor.alerts.log import AlertLog
from lastaisle.monitor.alerts.model import SEVERITIES, Alert, Severity, is_worse
from lastaisle.telemetry.shown import utc

KEPT: Final = timedelta(hours=72)
"""Older messages are not sent any more, unless they tell of an alert that is still open."""

_Kind = Literal["raised", "changed", "resolved"]


def notices_of(log: AlertLog, config: AlertConfig, now: datetime) -> list[Notice]:
    """Return the messages that are due until now, the oldest first.

    Alerts of one rule are a group. The first alert is told of at once, with all others of the same check.
    Those that follow share a message after `group_minutes`. An open group is told of again after
    `repeat_hours`, and its end is told of when all of its alerts are resolved.
    """
    standing, groups = Standing(), dict[str, _Group]()
    for change in log.changes:
        for group in groups.values():
            group.run_until(change.at, inclusive=False)
        standing.apply(change)
        if change.rule not in groups:
            groups[change.rule] = _Group(change.rule, standing, config)
        groups[change.rule].take(change)
    notices = []
    for group in groups.values():
        group.run_until(now, inclusive=True)
        notices += [
            notice
            for notice in group.notices
            if notice.at > now - KEPT or (notice.kind == "raised" and notice.dedup_key == group.key)
        ]
    return sorted(notices, key=lambda notice: (notice.at, notice.id))


@dataclass
class _Group:
    """The alerts of one rule, while the changes are gone through.

    Attributes:
        rule: the name of the rule.
        standing: all alerts and silences at this point.
        config: how messages are grouped and repeated.
        waiting: the open alerts that are not told of as they are, with the moment from which they wait.
        told: the severity of each open alert that was told of.
        first: the entry of the alert that began the group; None while nothing is told of.
        last: when the newest message was sent.
        clock: when the newest change came.
        worst: the worst severity that was told of.
        notices: the messages.
    """

    rule: str
    standing: Standing
    config: AlertConfig
    waiting: dict[str, datetime] = field(default_factory=dict)
    told: dict[str, Severity] = field(default_factory=dict)
    first: int | None = None
    last: datetime | None = None
    clock: datetime | None = None
    worst: Severity = "info"
    notices: list[Notice] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The name of the group: one for all messages from the first to the end."""
        return "" if self.first is None else _digest(self.rule, str(self.first))

    def take(self, change: Change) -> None:
        """Take a change into account that the standing holds already."""
        self.clock = change.at
        name = change.alert_id
        if name is None:
            return
        if change.kind in (OPENED, CHANGED):
            severity = self.standing.alerts[name].severity
            if name not in self.told or is_worse(severity, self.told[name]):
                self.waiting.setdefault(name, change.at)
        elif change.kind == RESOLVED:
            self.waiting.pop(name, None)
            was_told = self.told.pop(name, None)
            if (
                was_told
                and not self.told
                and not any(self._audible(other) <= change.at for other in self.waiting)
            ):
                self._end(change.at)

    def run_until(self, until: datetime, *, inclusive: bool) -> None:
        """Send the messages that are due before a moment, or at it."""
        while (due := self._due()) is not None and (due < until or (inclusive and due == until)):
            names = [name for name in self.waiting if self._audible(name) <= due]
            if names:
                self._tell(names, due)
            else:
                self._repeat(due)

    def _due(self) -> datetime | None:
        """Return when the next message is due; None without any."""
        moments = []
        if self.waiting:
            at = min(self._audible(name) for name in self.waiting)
            if self.first is not None and self.last is not None:
                at = max(at, self.last + timedelta(minutes=self.config.group_minutes))
            moments.append(max(at, self.clock or at))
        if self.first is not None and self.last is not None and self.config.repeat_hours:
            moments.append(self.last + timedelta(hours=self.config.repeat_hours))
        return min(moments, default=None)

    def _audible(self, name: str) -> datetime:
        """Return when a waiting alert may be told of: when no silence holds any more."""
        at = max(self.waiting[name], self.clock or self.waiting[name])
        while (silence := self.standing.silence_of(self.rule, name, at)) is not None:
            at = silence.until
        return at

    def _tell(self, names: Sequence[str], at: datetime) -> None:
        kind: _Kind = "raised" if self.first is None else "changed"
        alerts = self._alerts(names)
        if self.first is None:
            self.first = min(alert.episode for alert in alerts)
        for alert in alerts:
            self.waiting.pop(alert.id)
            self.told[alert.id] = alert.severity
            self.worst = max(self.worst, alert.severity, key=SEVERITIES.index)
        self._send(kind, alerts, at)

    def _repeat(self, at: datetime) -> None:
        """Tell of the open alerts again, if any is not silenced."""
        loud = [name for name in self.told if self.standing.silence_of(self.rule, name, at) is None]
        if loud:
            self._send("changed", self._alerts(loud), at, "still open: ")
        self.last = at

    def _end(self, at: datetime) -> None:
        alerts = [
            alert
            for alert in self.standing.alerts.values()
            if alert.rule == self.rule and alert.resolved_at == at
        ]
        self._send("resolved", alerts, at)
        self.first, self.last, self.worst = None, None, "info"

    def _alerts(self, names: Iterable[str]) -> list[Alert]:
        alerts = [self.standing.alerts[name] for name in names]
        return sorted(alerts, key=lambda alert: (-SEVERITIES.index(alert.severity), alert.since, alert.id))

    def _send(self, kind: _Kind, alerts: Sequence[Alert], at: datetime, told: str = "") -> None:
        worst = self.worst if kind == "resolved" else max((a.severity for a in alerts), key=SEVERITIES.index)
        names = [f"{alert.id} {alert.episode}" for alert in alerts]
        one = alerts[0]
        title = one.summary if len(alerts) == 1 else f"{len(alerts)} alerts of the rule {self.rule}"
        links = {link: None for alert in alerts for link in _links_of(alert)}
        self.notices.append(
            Notice(
                id=f"msg_{_digest(self.key, kind, at.isoformat(), *names)}",
                kind=kind,
                severity=worst,
                title=f"{told}{title}",
                text="\n\n".join(_text_of(alert) for alert in alerts),
                at=at,
                data={"rule": self.rule, "group": self.key, "alerts": [_data_of(alert) for alert in alerts]},
                links=(*links, ("Runbook", one.runbook)),
                group=self.rule,
                dedup_key=self.key,
                rule=self.rule,
            )
        )
        self.last = at


def _text_of(alert: Alert) -> str:
    """Return an alert in some lines."""
    lines = [f"{alert.summary}", f"Severity {alert.severity}, since {utc(alert.since)}. Alert {alert.id}."]
    if alert.resolved_because:
        lines.append(f"Resolved: {alert.resolved_because}.")
    for one in alert.evidence:
        place = one.query or one.url or (f"run {one.run_id}" if one.run_id else one.table)
        lines.append(f"{one.text.rstrip('.')}: {place}" if place else one.text)
    return "\n".join(lines)


def _links_of(alert: Alert) -> list[tuple[str, str]]:
    return [(one.text, one.url) for one in alert.evidence if one.url]


def _data_of(alert: Alert) -> dict[str, Any]:
    """Return an alert as JSON values."""
    names = ("id", "rule", "severity", "summary", "state", "runbook")
    values = {name: getattr(alert, name) for name in names}
    return values | {"scope": dict(alert.scope), "since": alert.since.isoformat()}


def _digest(*names: str) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:32]
