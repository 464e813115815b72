"""Evaluate a candidate, the champion and the baselines on the same sessions after the window."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lastaisle.errors import LastaisleError
from lastaisle.evaluation.answers import LENGTH, log_answers
from lastaisle.evaluation.churn import churn_of
from lastaisle.evaluation.judging import judging_of
from lastaisle.evaluation.measure import Lists, measure, slices_of
from lastaisle.evaluation.plots import comparison, slice_bars
from lastaisle.evaluation.quarantine import missing_rows
from lastaisle.evaluation.report import (
    CHURN,
    PAIRED_LEVEL,
    REPORT,
    Evaluation,
    EvaluationReport,
    stored_report,
)
from lastaisle.lake.tables import EVENTS
from lastaisle.registry.ledger import Ledger, decision_on
from lastaisle.registry.losses import present_standing
from lastaisle.registry.plan import TrainingPlan
from lastaisle.sessions.windows import training_sessions
from lastaisle.training.kinds import kind_for
from models.by_name import create
from models.data.sequences import decay_weights
from models.evaluation.objectives import NEW_ITEM, NEXT_ITEM, is_new
from models.evaluation.ranking import rank_targets
from models.serving.served import ServedModel
from models.stored import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from models.data.sequences import Examples, SessionLog
    from models.options import Progress
    from models.recommender import Recommender

logger = logging.getLogger(__name__)

BASELINES = ("popularity", "repeat", "cooccurrence")


def evaluate_candidate(
    run_id: str,
    lake: Lake,
    registry: Registry,
    progress: Progress | None = None,
    *,
    level: float = PAIRED_LEVEL,
) -> EvaluationReport:
    """Measure the candidate of a run beside champion and baselines; log it to the run.

    Every next item of the judging sessions is ranked among all items. None of the models has learned a
    judging session (see lastaisle.evaluation.judging). Candidate and champion answer as services get them:
    their packed models are asked, with the inputs that a service sends. A second call returns the same
    report, unless the gate has not decided on the candidate and the champion, or the setting
    LASTAISLE_EXCLUDE_SEEN, has changed.

    Args:
        run_id: the run of the candidate.
        lake: where the tables are.
        registry: where the models are.
        progress: called from time to time with the share that is done.
        level: level of the intervals of the differences between two models.

    Raises:
        LearnedHoursError: the champion has learned the hours that would judge the candidate.
        DamagedModelError: the packed model of the candidate or of the champion is not what was trained.
    """
    ledger = Ledger(lake, registry.model_name)
    standing = present_standing(ledger, registry)
    champion = standing.champion
    stored = stored_report(run_id, registry)
    plan = registry.plan_of(run_id)
    if stored and decision_on(ledger.moves(), run_id):
        return stored
    if stored and (stored.champion_version, stored.served) == (champion, registry.served):
        return stored
    report = _evaluate(
        run_id,
        plan,
        champion,
        None if standing.anchor == champion else standing.anchor,
        lake=lake,
        registry=registry,
        level=level,
        progress=progress,
    )
    _log(report, registry)
    return report


def _evaluate(
    run_id: str,
    plan: TrainingPlan,
    champion: str | None,
    anchor: str | None,
    *,
    lake: Lake,
    registry: Registry,
    level: float,
    progress: Progress | None,
) -> EvaluationReport:
    kind = kind_for(plan)
    versions = {"champion": champion, "anchor": anchor}
    others = _load_versions(champion, anchor, Ledger(lake, registry.model_name), registry)
    judging = judging_of(plan, {role: str(versions[role]) for role in others}, lake, registry)
    read = judging.read
    trained_on = training_sessions(lake, plan.window, plan.holdout_end, plan.lake_versions).log
    examples = judging.examples
    slices = slices_of(examples, trained_on)
    for name, sessions in kind.judging_slices(plan, lake, read.log).items():
        if (targets := sessions[examples.session]).any():
            slices[name] = targets
    candidate = registry.load_served(run_id)
    log_answers(run_id, candidate, examples, registry)
    compared: dict[str, ServedModel | Recommender] = {"candidate": candidate, **others}
    compared |= _baselines(plan, trained_on)
    missing = missing_rows(lake, judging.start, plan.holdout_end, plan.lake_versions.get(EVENTS))
    return EvaluationReport(
        run_id=run_id,
        run_key=plan.run_key,
        evaluated_from=judging.start,
        evaluated_to=plan.holdout_end,
        sessions=int((read.log.lengths >= 2).sum()),
        targets=len(examples),
        champion_version=champion,
        paired_level=level,
        models=_measure_all(
            compared, versions, examples, slices, registry.served, level=level, progress=progress
        ),
        left_out=read.left_out,
        quarantined=missing.share,
        refused_files=missing.refused_files,
        served=registry.served,
    )


def measure_again(
    report: EvaluationReport, model: ServedModel, lake: Lake, registry: Registry
) -> dict[str, float]:
    """Measure another model on the sessions that judged a candidate; see `values_of`.

    Args:
        report: the evaluation of the candidate.
        model: the model, as a service gets it.
        lake: where the sessions are, at the version of the candidate's plan.
        registry: where the models are with which the candidate was compared.
    """
    versions = {role: each.version for role, each in report.models.items() if each.version}
    examples = judging_of(registry.plan_of(report.run_id), versions, lake, registry).examples
    measured = _measure_all(
        {"candidate": model}, {}, examples, {}, report.served, level=PAIRED_LEVEL, progress=None
    )
    return values_of(measured["candidate"])


def values_of(evaluation: Evaluation) -> dict[str, float]:
    """Return each metric of each objective, such as `next_item recall@20`.

    Coverage is left out, because it depends on the other models that are measured.
    """
    return {
        f"{objective} {name}": estimate.value
        for objective, scores in evaluation.objectives.items()
        if objective in (NEXT_ITEM, NEW_ITEM)
        for name, estimate in scores.metrics.items()
        if not name.startswith("coverage")
    }


def _load_versions(
    champion: str | None, anchor: str | None, ledger: Ledger, registry: Registry
) -> dict[str, ServedModel]:
    """Open champion and anchor. A broken anchor is left out, since the champion then takes its place."""
    models = {}
    if champion is not None:
        models["champion"] = registry.load_version(champion, ledger.digest_of(champion))
    if anchor is not None:
        try:
            models["anchor"] = registry.load_version(anchor, ledger.digest_of(anchor))
        except (LastaisleError, ModelError) as error:
            logger.warning("The anchor, version %s, is not scored: %s", anchor, error)
    return models


def _measure_all(
    compared: Mapping[str, ServedModel | Recommender],
    versions: Mapping[str, str | None],
    examples: Examples,
    slices: Mapping[str, NDArray[np.bool_]],
    served: str,
    *,
    level: float,
    progress: Progress | None,
) -> dict[str, Evaluation]:
    """Measure all models on the same targets, for each objective with the lists that it is served by."""
    new = np.flatnonzero(is_new(examples))
    new_slices = {name: rows[new] for name, rows in slices.items()}
    lists = {
        NEXT_ITEM: _lists(compared, examples, slices, progress, exclude_seen=False),
        NEW_ITEM: _lists(compared, examples.select(new), new_slices, progress, exclude_seen=True),
    }
    models = measure(lists, served, level)
    return {role: dataclasses.replace(model, version=versions.get(role)) for role, model in models.items()}


def _lists(
    compared: Mapping[str, ServedModel | Recommender],
    examples: Examples,
    slices: Mapping[str, NDArray[np.bool_]],
    progress: Progress | None,
    *,
    exclude_seen: bool,
) -> Lists:
    """Rank the targets by every model. Coverage counts the items that any of these models knows."""
    known = len(set().union(*(model.vocabulary.ids[1:] for model in compared.values())))
    rankings = {
        name: dataclasses.replace(
            model.rank(examples, LENGTH, progress, exclude_seen=exclude_seen)
            if isinstance(model, ServedModel)
            else rank_targets(model, examples, LENGTH, progress, exclude_seen=exclude_seen),
            n_items=known,
        )
        for name, model in compared.items()
    }
    churn = None
    if "champion" in compared:
        both = [(rankings[name], compared[name].vocabulary) for name in ("candidate", "champion")]
        churn = churn_of(*both)
    return Lists(rankings, slices, churn)


def _baselines(plan: TrainingPlan, log: SessionLog) -> dict[str, Recommender]:
    """Count the baselines on the candidate's own window, decayed as its sessions are."""
    weights = decay_weights(log.ended_at, plan.window.end.timestamp(), plan.window.half_life_hours * 3600)
    baselines = {name: create(name) for name in BASELINES}
    for baseline in baselines.values():
        baseline.fit(log, weights)
    return baselines


def _log(report: EvaluationReport, registry: Registry) -> None:
    """Log metrics, plots and, last, the report: with the report the evaluation is done."""
    metrics = {"evaluation_sessions": float(report.sessions), "evaluation_targets": float(report.targets)}
    for name, evaluation in report.models.items():
        prefix = "" if name == "candidate" else f"{name}."
        metrics |= {
            prefix + metric: estimate.value for metric, estimate in evaluation.overall.metrics.items()
        }
        metrics |= {
            f"{prefix}{objective}.{metric}": estimate.value
            for objective, scores in evaluation.objectives.items()
            if objective != NEXT_ITEM
            for metric, estimate in scores.metrics.items()
        }
    if report.churn is not None:
        metrics[CHURN] = report.churn.value
    if report.quarantined is not None:
        metrics |= {"quarantined_share": report.quarantined, "refused_files": report.refused_files}
    registry.log_metrics(report.run_id, metrics)
    registry.log_figure(report.run_id, comparison(report), "plots/comparison.png")
    registry.log_figure(report.run_id, slice_bars(report), "plots/slices.png")
    registry.log_text(report.run_id, report.to_json(), REPORT)
