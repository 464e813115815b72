"""The tasks that release a candidate, shared by all DAGs that train or move a champion."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import CHECKOUT_RECOMMENDER
from lastaisle_airflow.runtime.links import run_page
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences
from lastaisle_airflow.tasks.flows import tell_registered, tell_served

if TYPE_CHECKING:
    from lastaisle.evaluation.report import EvaluationReport
    from lastaisle.release.approval import Approval

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)
STEPS = ("champion", "canary", "shadow")
ANNOUNCED = ("version", "words", "metric", "value", "champion_value", "from_version", "reason")


def actor_of(dag_run: Any) -> str:
    """Return the name of a DAG run in the ledger's column `actor`."""
    return f"airflow:{dag_run.dag_id}/{dag_run.run_id}"


@task
def release_candidate(
    trained: str,
    assessed: dict[str, Any] | None = None,
    answer: dict[str, Any] | None = None,
    *,
    params: Any = None,
    dag_run: Any = None,
) -> dict[str, Any]:
    """Register the candidate, and promote it if the gate accepts it; return the gate's decision.

    Args:
        trained: the MLflow run of the candidate.
        assessed: the risks, where people were asked.
        answer: what people answered, where they were asked.
        params: the parameters of the DAG run.
        dag_run: the DAG run.

    Raises:
        AirflowFailException: the candidate or its start was rolled back, the champion has learned newer
            hours or the hours that would judge, or people were asked about the comparison with a former
            champion; a retry would not help.
    """
    from lastaisle.evaluation.evaluate import evaluate_candidate
    from lastaisle.evaluation.judging import LearnedHoursError
    from lastaisle.registry.registry import Registry
    from lastaisle.release.approval import ApprovalOutdatedError
    from lastaisle.release.decision_table import as_text
    from lastaisle.release.gate import GateRules
    from lastaisle.release.release import OlderTrainingError, RolledBackError
    from lastaisle.release.release import release_candidate as release
    from lastaisle.release.steps.advance import make_room
    from lastaisle.release.steps.rules import release_rules

    settings = Settings.from_env()
    lake, registry = open_lake(settings), Registry(settings)
    rules, steps, actor = GateRules.of(settings), release_rules(settings), actor_of(dag_run)
    try:
        # This reads the stored report. If the champion has moved since, it compares with the new champion.
        report = evaluate_candidate(trained, lake, registry)
        make_room(lake, registry, steps, rules, actor=actor)
        decision = release(
            trained,
            lake,
            registry,
            actor=actor,
            rules=rules,
            steps=steps,
            allow_older=may_be_older(params or {}),
            approval=_approval_of(assessed, answer),
        )
    except (ApprovalOutdatedError, LearnedHoursError, OlderTrainingError, RolledBackError) as overtaken:
        raise AirflowFailException(str(overtaken)) from overtaken
    version, aliases = registry.version_for_run(trained), registry.aliases()
    log.info("The gate's decision on version %s:\n%s", version, as_text(decision.checks))
    move = {
        "version": version,
        "promoted": decision.promote,
        "champion_moved": decision.promote and aliases.get("champion") == version,
        "step": next((step for step in STEPS if aliases.get(step) == version), ""),
        "rule": next((check.name for check in decision.checks if not check.passed), ""),
        "reasons": list(decision.reasons),
        **scores_of(report, rules.metric),
    }
    tell_registered(trained, str(version))
    move["words"] = sentences.of_release(move)
    note(move["words"], link=run_page(trained), warn=not decision.promote)
    return move


def scores_of(report: EvaluationReport, metric: str) -> dict[str, Any]:
    """Return the gate's metric of the candidate and of the champion, on the lists that services get."""
    champion = None if report.champion is None else report.served_scores("champion").metrics[metric].value
    value = report.served_scores("candidate").metrics[metric].value
    return {"metric": metric, "value": value, "champion_value": champion}


def _approval_of(assessed: dict[str, Any] | None, answer: dict[str, Any] | None) -> Approval | None:
    """Return what people answered; None if they were not asked."""
    from lastaisle.release.approval import Approval

    if not assessed or not answer:
        return None
    return Approval(answer["approved"], answer["by"], tuple(assessed["risks"]), assessed["champion"])


def may_be_older(params: Mapping[str, Any]) -> bool:
    """Tell whether a run may release a candidate whose window ends before the champion's.

    A full training that learned up to the newest event may: only while the training waited or ran was the
    champion trained on newer hours, and the gate then judges both by hours that neither has learned. A run
    with a `data_end` of its own may only if people allow it.
    """
    if "allow_older" not in params:
        return False
    return bool(params["allow_older"]) or not params.get("data_end")


@task(outlets=[CHECKOUT_RECOMMENDER])
def announce_champion(move: dict[str, Any], *, outlet_events: Any = None) -> None:
    """Announce the new champion on the asset `checkout_recommender`; skip if the champion did not move."""
    if not move["champion_moved"]:
        raise skipped("the champion did not move: nothing to announce")
    tell_served(str(move["version"]))
    outlet_events[CHECKOUT_RECOMMENDER].extra = {name: move[name] for name in ANNOUNCED if name in move}


@task
def fall_back(planned: dict[str, Any], move: dict[str, Any]) -> dict[str, str]:
    """Return the reason for a full training, and the moment up to which the training learns.

    Raises:
        AirflowSkipException: the candidate was promoted, or its refusal is not the second in a row.
    """
    from lastaisle.registry.ledger import Ledger
    from lastaisle.registry.registry import Registry
    from lastaisle.release.fallback import full_training_due, tells_of_the_model

    settings = Settings.from_env()
    registry = Registry(settings)
    moves = Ledger(open_lake(settings), settings.registry.model_name).moves()
    reason = full_training_due(
        moves, str(move["version"]), lambda refusal: tells_of_the_model(refusal, registry)
    )
    if reason is None:
        raise skipped("no second refusal in a row: no full training starts")
    note(f"v{move['version']} is the second refusal in a row: retrain_full starts")
    return {"note": reason, "data_end": str(planned["holdout_end"])}
