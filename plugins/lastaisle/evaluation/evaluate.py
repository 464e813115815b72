"""Evaluate a candidate, the champion and the baselines on the same sessions after the window."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lastaisle.evaluation.churn import churn_of
from lastaisle.evaluation.feed import quarantined_share
from lastaisle.evaluation.measure import measure, slices_of
from lastaisle.evaluation.plots import comparison, slice_bars
from lastaisle.evaluation.report import CHURN, EvaluationReport
from lastaisle.registry.ledger import Ledger
from lastaisle.registry.plan import TrainingPlan
from lastaisle.registry.tags import PLAN
from lastaisle.release.gate import GateRules
from lastaisle.sessions.windows import evaluation_sessions, training_sessions
from lastaisle.training.refresh import abandoned_in, judging_sessions

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from models.data.sequences import SessionLog
    from models.options import Progress
    from models.recommender import Recommender

REPORT = "evaluation/report.json"
BASELINES = ("popularity", "cooccurrence")


def evaluate_candidate(
    run_id: str,
    lake: Lake,
    registry: Registry,
    progress: Progress | None = None,
    *,
    rules: GateRules | None = None,
) -> EvaluationReport:
    """Measure the candidate of a run beside champion, popularity and co-occurrence; log it to the run.

    Every next item of the sessions that started after the window is ranked among all items. Called again it
    returns the same report, unless the champion has changed and the candidate is still undecided.
    """
    ledger = Ledger(lake, registry.model_name)
    champion = ledger.standing().champion
    stored = stored_report(run_id, registry)
    plan = plan_of(run_id, registry)
    if stored and (stored.champion_version == champion or decided(ledger, plan.run_key)):
        return stored
    report = _evaluate(
        run_id,
        plan,
        champion,
        lake=lake,
        registry=registry,
        rules=rules or GateRules(),
        progress=progress,
    )
    _log(report, registry)
    return report


def plan_of(run_id: str, registry: Registry) -> TrainingPlan:
    """Return the plan that a run was trained by."""
    return TrainingPlan.from_json(registry.tags(run_id)[PLAN])


def stored_report(run_id: str, registry: Registry) -> EvaluationReport | None:
    """Return the report that an evaluation logged to the run."""
    text = registry.read_text(run_id, REPORT)
    return None if text is None else EvaluationReport.from_json(text)


def decided(ledger: Ledger, run_key: str) -> bool:
    """Tell whether the gate has decided on the candidate of this training."""
    return ledger.find(f"{run_key}/decide") is not None


def _evaluate(
    run_id: str,
    plan: TrainingPlan,
    champion: str | None,
    *,
    lake: Lake,
    registry: Registry,
    rules: GateRules,
    progress: Progress | None,
) -> EvaluationReport:
    from models.data.sequences import next_item_examples
    from models.evaluation.ranking import rank_targets

    version = plan.lake_versions.get("events")
    if plan.kind == "refresh":
        read = judging_sessions(plan, lake)
    else:
        read = evaluation_sessions(lake, plan.window.end, plan.holdout_end, version)
    log = read.log
    trained_on = training_sessions(lake, plan.window, plan.holdout_end, version).log
    examples = next_item_examples(log)
    recommenders = {"candidate": registry.load_recommender(run_id)}
    if champion is not None:
        recommenders["champion"] = registry.load_recommender(registry.run_of(champion))
    recommenders |= _baselines(plan, trained_on)
    rankings = {name: rank_targets(model, examples, 20, progress) for name, model in recommenders.items()}
    churn = None
    if champion is not None:
        lists = [(rankings[name], recommenders[name].vocabulary) for name in ("candidate", "champion")]
        churn = churn_of(*lists)
    slices = slices_of(examples, trained_on)
    if plan.kind == "refresh":
        abandoned = abandoned_in(log, lake, plan)[examples.session]
        if abandoned.any():
            slices["abandoned"] = abandoned
    models = measure(rankings, slices, rules.level, churn)
    if champion is not None:
        models["champion"] = dataclasses.replace(models["champion"], version=champion)
    return EvaluationReport(
        run_id=run_id,
        run_key=plan.run_key,
        evaluated_from=plan.window.end,
        evaluated_to=plan.holdout_end,
        sessions=int((log.lengths >= 2).sum()),
        targets=len(examples),
        champion_version=champion,
        paired_level=rules.level,
        models=models,
        left_out=read.left_out,
        quarantined=quarantined_share(lake, plan.window.end, plan.holdout_end, version),
    )


def _baselines(plan: TrainingPlan, log: SessionLog) -> dict[str, Recommender]:
    """Count the baselines on the candidate's own window, decayed as its sessions are."""
    from models.data.sequences import decay_weights
    from models.recommender import create

    weights = decay_weights(log.ended_at, plan.window.end.timestamp(), plan.window.half_life_hours * 3600)
    baselines = {name: create(name) for name in BASELINES}
    for baseline in baselines.values():
        baseline.fit(log, weights)
    return baselines


def _log(report: EvaluationReport, registry: Registry) -> None:
    """Log metrics, plots and, last, the report: once it is there the evaluation is done."""
    metrics = {"evaluation_sessions": float(report.sessions), "evaluation_targets": float(report.targets)}
    for name, evaluation in report.models.items():
        prefix = "" if name == "candidate" else f"{name}."
        metrics |= {
            prefix + metric: estimate.value for metric, estimate in evaluation.overall.metrics.items()
        }
        metrics |= {
            f"{prefix}{objective}.{metric}": estimate.value
            for objective, scores in evaluation.objectives.items()
            if objective != "next_item"
            for metric, estimate in scores.metrics.items()
        }
    if report.churn is not None:
        metrics[CHURN] = report.churn.value
    if report.quarantined is not None:
        metrics["quarantined_share"] = report.quarantined
    registry.log_metrics(report.run_id, metrics)
    registry.log_figure(report.run_id, comparison(report), "plots/comparison.png")
    registry.log_figure(report.run_id, slice_bars(report), "plots/slices.png")
    registry.log_text(report.run_id, report.to_json(), REPORT)
