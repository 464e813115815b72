"""Judge the shadow and the canary: the decision table of a step, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from lastaisle.baseline.hours import CANARY_ARM, moment_of
from lastaisle.baseline.measures import MEASURES
from lastaisle.feedback.health import CANARY, SHADOW
from lastaisle.release.gate import BROKEN, OPEN, Check
from lastaisle.release.guardrails.drop import drop_from
from lastaisle.release.guardrails.limits import LEAST_PROMOTIONS_A_YEAR
from lastaisle.release.guardrails.service import health_of
from lastaisle.release.steps.rules import OF_SERVICES

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.release.guardrails.canary import Arms
    from lastaisle.release.guardrails.limits import GuardrailLimits
    from lastaisle.release.guardrails.service import Health
    from lastaisle.release.steps.rules import CanaryStep, ServiceRule, ShadowStep

Outcome = Literal["wait", "go_on", "retire"]
#: The intervals of the rules of a canary miss the truth at any look with this probability.
RULE_ALPHA: Final = 0.05


@dataclass(frozen=True)
class StepJudgement:
    """What the rules of a step say of a version.

    Attributes:
        version: the version.
        step: shadow or canary.
        checks: the decision table.
        outcome: wait, go_on (to the next step), or retire.
        reason: why, in sentences.
    """

    version: str
    step: str
    checks: tuple[Check, ...]
    outcome: Outcome
    reason: str


def judge_shadow(
    lake: Lake, version: str, step: ShadowStep | None, since: datetime, now: datetime
) -> StepJudgement:
    """Judge a shadow, by the clock of the services.

    Args:
        lake: where `service_metrics` is.
        version: the shadow.
        step: the rules; None = the version only waits for the end of a canary.
        since: when it became the shadow.
        now: the present.
    """
    if step is None:
        return StepJudgement(version, SHADOW, (), "go_on", "No rule asks for a shadow.")
    health = health_of(lake, version, (SHADOW,), since)
    hours = (now - since).total_seconds() / 3600
    checks = [
        _at_least("hours", hours, step.min_hours, "The shadow has run for {value:.1f} hours"),
        _at_least(
            "requests", health.requests, step.min_requests, "The shadow has scored {value:,.0f} requests"
        ),
        *_of_services(step.online, version, health, step.min_requests),
    ]
    return _judged(version, SHADOW, checks, hours, step)


def judge_canary(
    lake: Lake, arms: Arms, step: CanaryStep, limits: GuardrailLimits, since: datetime
) -> StepJudgement:
    """Judge a canary against its control, by the clock of the data.

    Args:
        lake: where `service_metrics` is.
        arms: the hours of both arms.
        step: the rules.
        limits: the guardrails, which retire a canary that is surely worse.
        since: when it became the canary, by the clock of the services.
    """
    health = health_of(lake, arms.version, (CANARY,), since, arm=CANARY_ARM)
    checks = [
        _at_least("hours", arms.hours, step.min_hours, "Both arms have served for {value:.0f} hours"),
        _at_least(
            "sessions", arms.sessions, step.min_sessions, "{value:,.0f} sessions saw the canary's lists"
        ),
        *_of_guardrails(arms, limits),
        *_of_shoppers(step, arms),
        *_of_services(
            [rule for rule in step.online if rule.metric in OF_SERVICES],
            arms.version,
            health,
            limits.min_requests,
        ),
    ]
    return _judged(arms.version, CANARY, checks, arms.waited_hours, step)


def _judged(
    version: str, name: str, checks: Sequence[Check], hours: float, step: ShadowStep | CanaryStep
) -> StepJudgement:
    """Return what follows from a decision table."""
    table = tuple(checks)
    faults = [check.reason for check in table if check.says == BROKEN]
    unproven = [check.reason for check in table if check.says == OPEN]
    if faults:
        return StepJudgement(version, name, table, "retire", " ".join(faults))
    if not unproven:
        return StepJudgement(version, name, table, "go_on", " ".join(check.reason for check in table))
    if hours <= step.max_hours:
        return StepJudgement(version, name, table, "wait", " ".join(unproven))
    over = f"The step took longer than {step.max_hours:g} hours, and at_end is {step.at_end}."
    return StepJudgement(version, name, table, step.at_end, " ".join([over, *unproven]))


def _at_least(name: str, value: float, least: float, said: str) -> Check:
    """Return the row of a rule that asks for more evidence."""
    passed = value >= least
    reason = f"{said.format(value=value)} (at least {least:,g})."
    return Check(name, passed, reason, float(value), f">= {least:g}", verdict=None if passed else OPEN)


def _of_services(rules: Sequence[ServiceRule], version: str, health: Health, least: int) -> Iterator[Check]:
    """Judge what services measure."""
    for rule in rules:
        value = health.values.get(rule.metric)
        if value is None or health.requests < least:
            reason = f"{rule.metric} of version {version} is not known: {health.requests:,} requests."
            yield Check(rule.metric, passed=False, reason=reason, threshold=rule.threshold, verdict=OPEN)
            continue
        passed = rule.keeps(value)
        verb = "keeps" if passed else "breaks"
        reason = (
            f"{rule.metric} of version {version}, {value:.4f} in {health.requests:,} requests, {verb} "
            f"{rule.threshold}."
        )
        yield Check(rule.metric, passed=passed, reason=reason, value=value, threshold=rule.threshold)


def _of_guardrails(arms: Arms, limits: GuardrailLimits) -> Iterator[Check]:
    """Judge whether a canary is surely worse than its control."""
    alpha = limits.alpha(LEAST_PROMOTIONS_A_YEAR)
    for name in limits.measures:
        measure, rule, asked = MEASURES[name], f"guardrail_{name}", "not surely worse"
        change = arms.difference(measure)
        if change is None:
            reason = f"{name} of the canary cannot be compared with its control yet."
            yield Check(rule, passed=True, reason=reason, threshold=asked)
            continue
        drop = drop_from(measure, change, alpha)
        passed = not drop.is_sure or drop.value < limits.smallest_drop
        verb = "is not surely worse" if passed else "is surely worse"
        reason = (
            f"{name} of version {arms.version} {verb} than of version {arms.control}: {drop} in "
            f"{arms.hours} hours."
        )
        yield Check(rule, passed=passed, reason=reason, value=change.value, threshold=asked)


def _of_shoppers(step: CanaryStep, arms: Arms) -> Iterator[Check]:
    """Judge whether a canary is at most a little worse than its control."""
    for rule in step.online:
        if rule.worse_by_at_most is None:
            continue
        measure, change = MEASURES[rule.metric], arms.difference(MEASURES[rule.metric])
        if change is None:
            reason = f"{rule.metric} of the canary has too few counts for a comparison with its control."
            yield Check(rule.metric, passed=False, reason=reason, threshold=rule.threshold, verdict=OPEN)
            continue
        drop = drop_from(measure, change, RULE_ALPHA)
        passed, surely_worse = drop.low > -rule.worse_by_at_most, drop.high < -rule.worse_by_at_most
        verb = "is proven" if passed else "is refuted" if surely_worse else "is not proven yet"
        reason = (
            f"{rule.metric} of version {arms.version} differs from that of version {arms.control} by {drop} "
            f"since {moment_of(arms.since or 0):%Y-%m-%d %H:%M} UTC: {rule.threshold} {verb}."
        )
        verdict = None if passed or surely_worse else OPEN
        yield Check(rule.metric, passed, reason, change.value, rule.threshold, verdict=verdict)
