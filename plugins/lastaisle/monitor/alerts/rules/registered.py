"""All rules: the order is that in which `lastaisle alerts check` tells of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lastaisle.lake.tables import AUDITS, EVENTS, SHOP_METRICS
from lastaisle.lake.tables import DRIFT as DRIFT_TABLE
from lastaisle.monitor.alerts import model
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import Finding, Severity
from lastaisle.monitor.alerts.rules import (
    audit,
    budget,
    drift,
    lag,
    late_data,
    missing_data,
    personal_data,
    quarantine,
    releases,
    reported,
    request_due,
    shop_drop,
    trainings,
    undelivered,
    unreadable_source,
)

Check = Callable[[Context[Any]], Sequence[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        name: its name, in the configuration and in the table `alerts`.
        about: what it finds, in a few words.
        severity: the severity of most of its alerts.
        options: the class of its part of the configuration.
        check: finds what is wrong; None for a rule whose alerts others report and resolve.
        tables: if only these tables decide, the rule is skipped while they have the same versions. Without
            tables the clock, MLflow or other tables decide too, and the rule is always checked.
        why_ended: says why open alerts that are no longer found ended, by their ids.
    """

    name: str
    about: str
    severity: Severity
    options: type[RuleOptions] = RuleOptions
    check: Check | None = None
    tables: tuple[str, ...] = ()
    why_ended: Callable[[Context[Any]], dict[str, str]] | None = None


RULES: Final = (
    Rule(
        model.MISSING_DATA,
        "a day or an hour without logs",
        "warning",
        missing_data.MissingDataOptions,
        missing_data.check,
    ),
    Rule(
        model.LATE_DATA,
        "a source that brings no rows any more",
        "warning",
        late_data.LateDataOptions,
        late_data.check,
    ),
    Rule(
        model.UNREADABLE_SOURCE,
        "files that were refused as a whole",
        "warning",
        unreadable_source.UnreadableSourceOptions,
        unreadable_source.check,
    ),
    Rule(
        model.QUARANTINE,
        "many broken rows of one source",
        "warning",
        quarantine.QuarantineOptions,
        quarantine.check,
    ),
    Rule(
        model.PERSONAL_DATA,
        "personal data in fields where none belongs",
        "warning",
        personal_data.PersonalDataOptions,
        personal_data.check,
    ),
    Rule(
        model.DRIFT,
        "features that drifted",
        "warning",
        drift.DriftOptions,
        drift.check,
        (DRIFT_TABLE,),
    ),
    Rule(model.LAG, "Kafka is read too late, or lost messages", "warning", lag.LagOptions, lag.check),
    Rule(
        model.FAILED_TRAINING,
        "a training that failed",
        "warning",
        trainings.FailedTrainingOptions,
        trainings.check_failed,
    ),
    Rule(
        model.STUCK_TRAINING,
        "a training that is dead or takes too long",
        "warning",
        trainings.StuckTrainingOptions,
        trainings.check_stuck,
    ),
    Rule(
        model.OLD_CHAMPION,
        "a champion that learns nothing new",
        "warning",
        releases.OldChampionOptions,
        releases.check_old_champion,
    ),
    Rule(
        model.GUARDRAIL,
        "a rollback by the guardrails",
        "critical",
        releases.GuardrailOptions,
        releases.check_guardrail,
    ),
    Rule(
        model.UNDELIVERED,
        "messages that do not reach a receiver",
        "warning",
        undelivered.UndeliveredOptions,
        undelivered.check,
    ),
    Rule(
        model.CTR_DROP,
        "CTR or add-to-cart rate below the same hours of past weeks",
        "warning",
        shop_drop.ShopDropOptions,
        shop_drop.check_ctr,
        (SHOP_METRICS, EVENTS),
        shop_drop.why_ctr_ended,
    ),
    Rule(
        model.CONVERSION_DROP,
        "conversion, revenue a session or completed checkouts below the same hours of past weeks",
        "warning",
        shop_drop.ShopDropOptions,
        shop_drop.check_conversion,
        (SHOP_METRICS, EVENTS),
        shop_drop.why_conversion_ended,
    ),
    Rule(
        model.BUDGET, "a privacy budget that is nearly spent", "warning", budget.BudgetOptions, budget.check
    ),
    Rule(
        model.REQUEST_DUE,
        "a request of a shopper that waits too long",
        "warning",
        request_due.RequestDueOptions,
        request_due.check,
    ),
    Rule(
        model.AUDIT,
        "findings of the audit of privacy that failed",
        "warning",
        audit.AuditOptions,
        audit.check,
        (AUDITS,),
    ),
    Rule(
        model.DEADLINE, "a run that missed its deadline", "warning", reported.ReportedOptions, reported.check
    ),
    Rule(
        model.FAILED_TASK,
        "a task that failed in Airflow",
        "warning",
        reported.ReportedOptions,
        reported.check,
    ),
    Rule(model.CANNOT_CHECK, "a rule that cannot look at its tables", "warning"),
)

BY_NAME: Final = {rule.name: rule for rule in RULES}
