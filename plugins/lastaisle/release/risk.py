"""The risks of a release: why people may want to decide on a candidate that the gate would pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastaisle.registry.ledger import Ledger, decision_on
from lastaisle.registry.tags import CONTRACT_VERSION, EPSILON
from lastaisle.release.decision_table import as_markdown
from lastaisle.release.gate import Check, Decision, GateRules
from lastaisle.release.release import offline_decision, report_of
from lastaisle.release.steps.rules import release_rules

if TYPE_CHECKING:
    from lastaisle.evaluation.report import Estimate
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import Champion, TrainingPlan
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings

RISKY: Final = "risky"


@dataclass(frozen=True)
class Assessment:
    """Whether people are asked about a candidate, and what they read.

    Attributes:
        ask: whether people are asked.
        risks: the names of the risks.
        champion: the champion that the candidate was compared with.
        subject: the question.
        body: the decision table and the risks, in Markdown.
    """

    ask: bool
    risks: tuple[str, ...]
    champion: str | None
    subject: str
    body: str


def risks_of(
    plan: TrainingPlan,
    tags: Mapping[str, str],
    churn: Estimate | None,
    champion: Champion,
    champion_tags: Mapping[str, str],
    *,
    large_churn: float,
) -> tuple[Check, ...]:
    """Return what may be risky about a candidate; a rule that is not passed is a risk.

    Args:
        plan: the candidate's training.
        tags: the tags of the candidate's run.
        churn: the share of the champion's lists that changes; None = it was not measured.
        champion: the version that serves.
        champion_tags: the tags of the champion's run.
        large_churn: a greater share than this is a risk.
    """
    same = plan.architecture == champion.architecture
    models = f"The candidate's architecture is {plan.architecture}, the champion's {champion.architecture}."
    ours, theirs = (one.get(CONTRACT_VERSION, "unknown") for one in (tags, champion_tags))
    contracts = f"The candidate learned by version {ours} of the contract, the champion by version {theirs}."
    risks = [
        _risk("new_architecture", same, models),
        _risk("contract_change", ours == theirs, contracts),
    ]
    if churn is not None:
        changed = f"{churn.value:.1%} of the items in the champion's lists change."
        small = churn.value <= large_churn
        risks.insert(0, _risk("large_churn", small, changed, churn.value, f"<= {large_churn:.4f}"))
    if EPSILON in tags:
        spent, before = float(tags[EPSILON]), champion_tags.get(EPSILON)
        limit = None if before is None else f"<= {float(before):.4f}"
        budgets = f"The candidate's privacy budget is {spent:g}, the champion's {before or 'unknown'}."
        kept = before is not None and spent <= float(before)
        risks.append(_risk("privacy_budget", kept, budgets, spent, limit))
    return tuple(risks)


def _risk(
    name: str, passed: bool, reason: str, value: float | None = None, threshold: str | None = None
) -> Check:
    return Check(name, passed, reason, value, threshold, None if passed else RISKY)


def assess(run_id: str, lake: Lake, registry: Registry, settings: Settings) -> Assessment:
    """Decide whether people are asked about the candidate of a run, by LASTAISLE_APPROVAL.

    Nobody is asked about a candidate that the gate refuses, or that was decided on before.

    Raises:
        NotEvaluatedError: the candidate has no evaluation against the present champion.
        ReleaseRulesError: the file of release rules cannot be used.
    """
    ledger, plan = Ledger(lake, registry.model_name), registry.plan_of(run_id)
    subject = f"May the candidate of run {run_id} ({plan.run_key}) be released?"
    made = decision_on(ledger.moves(), run_id)
    if made is not None:
        told = f"This candidate was decided on before: {made.action}. {made.reason}"
        return Assessment(False, (), made.from_version, subject, told)
    report = report_of(run_id, ledger, registry)
    rules = release_rules(settings).gate(GateRules.of(settings)).on(report, plan)
    decision = offline_decision(report, rules, ledger, registry)
    risks: Sequence[Check] = ()
    if report.champion_version is not None:
        champion = registry.champion(report.champion_version)
        risks = risks_of(
            plan,
            registry.tags(run_id),
            report.churn,
            champion,
            registry.tags(champion.run_id),
            large_churn=settings.gate.risky_churn,
        )
    risky = tuple(risk.name for risk in risks if not risk.passed)
    wanted = settings.gate.approval == "always" or (settings.gate.approval == "risky" and bool(risky))
    return Assessment(
        ask=wanted and decision.promote,
        risks=risky,
        champion=report.champion_version,
        subject=subject,
        body=_body(report.champion_version, risks, decision),
    )


def _body(champion: str | None, risks: Sequence[Check], decision: Decision) -> str:
    """Return what the gate says and what is risky, in Markdown."""
    says = "would pass" if decision.promote else "refuses"
    beside = "There is no champion yet." if champion is None else f"Version {champion} is champion now."
    parts = [f"The gate {says} this candidate. {beside}"]
    if risks:
        parts += ["**Risks**", as_markdown(risks)]
    return "\n\n".join([*parts, "**The gate's decision table**", as_markdown(decision.checks)])
