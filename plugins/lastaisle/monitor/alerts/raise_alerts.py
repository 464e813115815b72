"""Check all rules, and write what they find into the table `alerts`."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa
from deltalake.exceptions import DeltaError
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

import lastaisle
from lastaisle.errors import LastaisleError
from lastaisle.lake.tables import ALERTS
from lastaisle.monitor.alerts.changes import NO_LONGER_FOUND, Change, found, not_found, resolved
from lastaisle.monitor.alerts.config import AlertConfig
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.log import AlertLog, commit, read_alerts
from lastaisle.monitor.alerts.model import CANNOT_CHECK, Alert, Evidence, Finding, id_of
from lastaisle.monitor.alerts.rules.registered import RULES, Rule
from lastaisle.telemetry.shown import one_line, without_password

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings

RULES_ACTOR: Final = "rules"
#: Errors of tables, stores and services: the rule cannot look. Any other error is a fault in a rule.
UNREADABLE: Final = (
    *(LastaisleError, OSError, DeltaError, duckdb.Error, pa.ArrowException),
    *(MlflowException, RequestException, SQLAlchemyError),
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Looked:
    """What one rule saw.

    Attributes:
        rule: the rule.
        findings: what it found; None = it did not look, or could not.
        problem: why it could not look; empty if it could.
        fault: the error of a fault in the rule.
        stamp: the state of its tables and options; None for a rule that is always checked.
        reasons: why alerts that it no longer finds ended, by their ids.
    """

    rule: Rule
    findings: tuple[Finding, ...] | None
    problem: str = ""
    fault: Exception | None = None
    stamp: int | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)

    def change_of(self, alert: Alert, now: datetime, quiet: timedelta) -> Change | None:
        """Return the change of an open alert that the rule no longer finds."""
        return not_found(alert, now, RULES_ACTOR, quiet, self.reasons.get(alert.id, NO_LONGER_FOUND))


@dataclass
class AlertReport:
    """What one check did.

    Attributes:
        opened, changed, quiet, resolved: the alerts of these changes.
        open: all open alerts afterwards, the worst first.
        skipped: the rules whose tables did not change.
        problems: rows of the table `alerts` that cannot be read.
    """

    opened: list[Alert] = field(default_factory=list)
    changed: list[Alert] = field(default_factory=list)
    quiet: list[Alert] = field(default_factory=list)
    resolved: list[Alert] = field(default_factory=list)
    open: list[Alert] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    problems: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report in sentences."""
        told = [
            f"{kind} [{alert.severity}] {alert.rule}: {alert.summary}"
            for kind in ("opened", "changed", "resolved")
            for alert in getattr(self, kind)
        ]
        count = len(self.open)
        number = f"{count or 'no'} alert{'' if count == 1 else 's'}"
        return [*self.problems, *told, f"{number} {'is' if count == 1 else 'are'} open"]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        kinds = ("opened", "changed", "quiet", "resolved", "open")
        alerts = {kind: [alert.to_dict() for alert in getattr(self, kind)] for kind in kinds}
        return {**alerts, "skipped": self.skipped, "problems": list(self.problems)}


def raise_alerts(
    lake: Lake,
    registry: Callable[[], Registry],
    settings: Settings,
    config: AlertConfig,
    *,
    now: datetime | None = None,
    rules: Sequence[Rule] = RULES,
    dry_run: bool = False,
) -> AlertReport:
    """Check every rule; open, change and resolve alerts by what the rules find.

    All changes are one commit. A second call at the same moment writes nothing, and so does a call after a
    kill that came after the commit. A rule that cannot look resolves nothing, and is an alert of its own.

    Args:
        lake: the tables.
        registry: opens the models and runs of MLflow.
        settings: the settings.
        config: the limits of the rules.
        now: the moment; the present by default.
        rules: the rules.
        dry_run: check every rule, and write nothing.

    Raises:
        LakeUnusableError: the table `alerts` cannot be read or written.
        LakeConflictError: other writers won every attempt.
        ExceptionGroup: faults in rules; the alerts of all other rules were written before.
    """
    now = now or datetime.now(UTC)
    log = read_alerts(lake)
    open_ = log.open(now)
    looked = []
    for rule in rules:
        alerts = [alert for alert in open_ if alert.rule == rule.name]
        context = Context(lake, registry, settings, config.options_of(rule.name), now, alerts)
        looked.append(_look(rule, context, anew=dry_run))
    stamps = {_stamp_name(one.rule): one.stamp for one in looked if one.stamp is not None and _is_done(one)}
    old = {name: lake.stamp(ALERTS, name) for name in stamps}
    fresh = {name: stamp for name, stamp in stamps.items() if stamp != old[name]}

    def decide(current: AlertLog) -> list[Change]:
        return _changes(current, looked, config, now)

    changes = tuple(decide(log)) if dry_run else commit(lake, decide, fresh)
    if dry_run:
        log = dataclasses.replace(log, changes=(*log.changes, *changes))
    report = _report(log if dry_run else read_alerts(lake), changes, looked, now)
    if faults := [one.fault for one in looked if one.fault is not None]:
        raise ExceptionGroup("rules of alerts failed", faults)
    return report


def _look(rule: Rule, context: Context[RuleOptions], *, anew: bool) -> Looked:
    """Let one rule look, if it is on and something may have changed."""
    lake, options = context.lake, context.options
    if rule.check is None or options.off:
        return Looked(rule, None)
    try:
        stamp = _stamp_of(rule, lake, options) if rule.tables else None
        if stamp is not None and not anew and stamp == lake.stamp(ALERTS, _stamp_name(rule)):
            return Looked(rule, None)
        findings = rule.check(context)
        reasons = rule.why_ended(context) if rule.why_ended is not None else {}
    except UNREADABLE as error:
        logger.warning("rule %s cannot look: %s", rule.name, error)
        return Looked(rule, None, problem=_told(error))
    except Exception as error:  # raised again at the end: a fault in one rule may not stop the others
        return Looked(rule, None, problem=_told(error), fault=error)
    severity = options.severity
    if severity is not None:
        findings = [dataclasses.replace(one, severity=severity) for one in findings]
    return Looked(rule, tuple(findings), stamp=stamp, reasons=reasons)


def _is_done(looked: Looked) -> bool:
    return looked.findings is not None and not looked.problem


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(without_password(str(error)))[:300]}"


def _stamp_name(rule: Rule) -> str:
    return f"checked {rule.name}"


def _stamp_of(rule: Rule, lake: Lake, options: RuleOptions) -> int:
    """Return a number that changes with the versions of a rule's tables, its options and this program."""
    versions = sorted(lake.versions(rule.tables).items())
    state = f"{versions} {options.model_dump_json()} {lastaisle.__version__}"
    return int.from_bytes(hashlib.sha256(state.encode()).digest()[:8]) >> 1


def _changes(log: AlertLog, looked: Sequence[Looked], config: AlertConfig, now: datetime) -> list[Change]:
    """Return the changes that follow from what the rules saw, on the table as it is now."""
    changes: list[Change | None] = []
    by_rule = {one.rule.name: one for one in looked}
    problems = {one.rule.name for one in looked if one.problem}
    cannot = [_cannot_check(one, now) for one in looked if one.problem]
    told = {finding.id: finding for one in looked for finding in one.findings or ()}
    told |= {finding.id: finding for finding in cannot if not config.options_of(CANNOT_CHECK).off}
    changes += [
        found(log.standing.alerts.get(name), finding, now, RULES_ACTOR) for name, finding in told.items()
    ]
    for alert in log.open(now):
        if alert.id in told or alert.rule not in by_rule:
            continue
        one, options = by_rule[alert.rule], config.options_of(alert.rule)
        quiet = timedelta(minutes=options.quiet_minutes)
        if options.off:
            changes.append(resolved(alert, now, RULES_ACTOR, "the rule is off"))
        elif (
            one.findings is not None
            or (alert.quiet_since is not None and not one.problem)
            or (alert.rule == CANNOT_CHECK and alert.scope.get("rule") not in problems)
        ):
            changes.append(one.change_of(alert, now, quiet))
    return [change for change in changes if change is not None]


def _cannot_check(looked: Looked, now: datetime) -> Finding:
    name = looked.rule.name
    evidence = Evidence("The check, with the whole error", query="lastaisle alerts check")
    return Finding(
        CANNOT_CHECK,
        "warning",
        {"rule": name},
        f"The rule {name} cannot look: {looked.problem}. Its alerts stay as they are.",
        now,
        (evidence,),
    )


def _report(log: AlertLog, changes: Sequence[Change], looked: Sequence[Looked], now: datetime) -> AlertReport:
    alerts = log.alerts(now)
    report = AlertReport(open=log.open(now), problems=log.problems)
    report.skipped = [
        one.rule.name for one in looked if one.rule.check and one.findings is None and not one.problem
    ]
    for change in changes:
        getattr(report, change.kind).append(alerts[id_of(change.rule, change.scope or {})])
    return report
