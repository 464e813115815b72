"""The model of an alert: what a rule finds, and what the table `alerts` makes of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias

Severity: TypeAlias = Literal["info", "warning", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""The severities, the mildest first."""

MISSING_DATA, LATE_DATA, UNREADABLE_SOURCE = "missing_data", "late_data", "unreadable_source"
QUARANTINE, DRIFT, LAG = "quarantine", "drift", "lag"
FAILED_TRAINING, STUCK_TRAINING = "failed_training", "stuck_training"
OLD_CHAMPION, GUARDRAIL, UNDELIVERED = "old_champion", "guardrail", "undelivered"
BUDGET, DEADLINE, FAILED_TASK = "budget", "deadline", "failed_task"
PERSONAL_DATA = "personal_data"
REQUEST_DUE = "request_due"
AUDIT: Final = "audit"
CTR_DROP, CONVERSION_DROP, CANNOT_CHECK = "ctr_drop", "conversion_drop", "cannot_check"

_RUNBOOKS: Final = "docs/alerts.md"
_ID_LENGTH: Final = 12  # hexadecimal digits: a person types an id


def is_worse(one: Severity, other: Severity) -> bool:
    """Tell whether the first severity is higher than the second."""
    return SEVERITIES.index(one) > SEVERITIES.index(other)


def id_of(rule: str, scope: Mapping[str, str]) -> str:
    """Return the id of the alert of a rule about a scope."""
    text = json.dumps([rule, sorted(scope.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


def runbook_of(rule: str) -> str:
    """Return the place of the section that says what to do: a page of the documentation and its anchor."""
    return f"{_RUNBOOKS}#{rule}"


@dataclass(frozen=True)
class Evidence:
    """Something that a person can open or run to see why there is an alert.

    Attributes:
        text: a sentence; without personal data.
        table: a table of the lake.
        query: an SQL query over that table (DuckDB), or a command `lastaisle …`.
        run_id: a run of MLflow.
        url: a page, such as the log of a task in Airflow.
    """

    text: str
    table: str | None = None
    query: str | None = None
    run_id: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Finding:
    """What a rule sees now.

    Attributes:
        rule: the name of the rule.
        severity: info, warning or critical.
        scope: what is concerned, by kind, such as {"source": "clicks"}.
        summary: one sentence: what is wrong, the value and the limit.
        since: when it began (UTC), by the clock of the data where the data says so.
        evidence: what to open or to run.
    """

    rule: str
    severity: Severity
    scope: Mapping[str, str]
    summary: str
    since: datetime
    evidence: tuple[Evidence, ...] = ()

    @property
    def id(self) -> str:
        """The id of the alert: a digest of the rule and the scope."""
        return id_of(self.rule, self.scope)

    @property
    def runbook(self) -> str:
        """The section of the documentation that says what to do."""
        return runbook_of(self.rule)

    @property
    def subject(self) -> str:
        """The scope in words, such as `source clicks`; empty without a scope."""
        return ", ".join(f"{kind} {name}" for kind, name in self.scope.items())


@dataclass(frozen=True)
class Silence:
    """A time in which an alert, or a whole rule, sends no messages.

    Attributes:
        until: when it ends by itself (UTC).
        actor: who asked for it.
        reason: why.
        since: when it began (UTC).
    """

    until: datetime
    actor: str
    reason: str
    since: datetime


@dataclass(frozen=True)
class Alert(Finding):
    """One alert: a finding with its state.

    Attributes:
        state: open or resolved.
        raised_at: when its present episode began (UTC).
        episode: the entry of the row that opened the episode; it names the episode.
        changed_at: when its newest row was written (UTC).
        quiet_since: since when its rule no longer finds it; None while the rule finds it. An alert is
            resolved after a quiet time, so that it does not come and go.
        resolved_at: when it was resolved; None while it is open.
        resolved_because: why it was resolved; empty while it is open.
        silence: the silence that holds now; None without one.
    """

    state: Literal["open", "resolved"] = "open"
    raised_at: datetime = field(kw_only=True)
    episode: int = field(kw_only=True)
    changed_at: datetime = field(kw_only=True)
    quiet_since: datetime | None = None
    resolved_at: datetime | None = None
    resolved_because: str = ""
    silence: Silence | None = None

    @property
    def is_open(self) -> bool:
        """Whether the alert is open."""
        return self.state == "open"

    @property
    def silenced_until(self) -> datetime | None:
        """When the silence ends; None without one."""
        return None if self.silence is None else self.silence.until

    @property
    def silenced_by(self) -> str | None:
        """Who silenced the alert; None without a silence."""
        return None if self.silence is None else self.silence.actor

    @property
    def group(self) -> str:
        """The group whose alerts share their messages."""
        return self.rule

    def to_dict(self) -> dict[str, object]:
        """Return the alert as plain values, for a report."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values |= {"id": self.id, "runbook": self.runbook, "scope": dict(self.scope)}
        values["evidence"] = [dataclasses.asdict(one) for one in self.evidence]
        values["silence"] = None if self.silence is None else dataclasses.asdict(self.silence)
        return values
