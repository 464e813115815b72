"""The tasks that `retrain_incremental` and `retrain_full` share, and what `rollback_model` does.

Between tasks only references travel: a plan of a few numbers and names, an MLflow run id, a version.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lastaisle.settings import Settings, SettingsError
from lastaisle_airflow.runtime.assets import CHECKOUT_RECOMMENDER
from lastaisle_airflow.runtime.defaults import TRAINING_POOL
from lastaisle_airflow.runtime.links import note_trained_run
from lastaisle_airflow.runtime.partitions import interval, unfinished
from lastaisle_airflow.runtime.stores import open_lake

log = logging.getLogger(__name__)

AHEAD = 10  # in the pool, before the tasks that only look, such as drift's


def actor_of(dag_run: Any) -> str:
    """Name a DAG run for the ledger: who moved it."""
    return f"airflow:{dag_run.dag_id}/{dag_run.run_id}"


def given_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the parameters that were filled in, the moment as a moment in UTC."""
    given = {name: value for name, value in params.items() if value not in (None, "")}
    if "data_end" in given:
        moment = datetime.fromisoformat(given["data_end"])
        given["data_end"] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return given


def plan(
    kind: str,
    *,
    data_end: datetime | None = None,
    window_hours: float | None = None,
    half_life_hours: float | None = None,
    architecture: str | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Decide what a training learns from.

    Args:
        kind: incremental or full.
        data_end: the moment after the last event; default that after the newest event.
        window_hours: length of the window; default as in the settings.
        half_life_hours: half-life of a session's weight; default as in the settings.
        architecture: which model learns; default as in `plan_window`.
        hyperparameters: by the names of TrainingOptions; the others are as in the settings.
        **options: hyperparameters that have a field of their own; they go before all others.

    Raises:
        AirflowFailException: a model or a hyperparameter that cannot be, which trying again does not change.
        AirflowSkipException: the champion has learned from data as late already, and nothing of it has
            changed since; or there are no events yet.
    """
    from lastaisle.errors import NotEnoughDataError
    from lastaisle.registry.registry import Registry
    from lastaisle.release.correction import plan_correction
    from lastaisle.release.release import current_champion
    from lastaisle.sessions.windows import newest_data_end
    from lastaisle.training.planning import StalePlanError, plan_window
    from models.options import OptionsError
    from models.recommender import ModelError

    prefix = "full_" if kind == "full" else ""
    lengths = {f"{prefix}window_hours": window_hours, f"{prefix}half_life_hours": half_life_hours}
    given: dict[str, Any] = {name: value for name, value in lengths.items() if value}
    settings = replace(Settings.from_env(), **given)
    lake, registry = open_lake(settings), Registry(settings)
    try:
        try:
            planned = plan_window(
                lake,
                settings,
                data_end or newest_data_end(lake),
                kind,
                current_champion(lake, registry),
                architecture=architecture,
                options={**(hyperparameters or {}), **options},
            )
        except StalePlanError as stale:
            log.info("%s", stale)
            planned = plan_correction(lake, settings, registry)
    except (ModelError, OptionsError, SettingsError) as wrong:
        raise AirflowFailException(str(wrong)) from wrong
    except (StalePlanError, NotEnoughDataError) as nothing_to_learn:
        raise AirflowSkipException(str(nothing_to_learn)) from nothing_to_learn
    log.info("Planned %s: %s", planned.run_key, planned)
    return json.loads(planned.to_json())


def plan_partition(key: str) -> dict[str, Any]:
    """Decide what the training for a partition, or for a day of them, learns from; see `plan`.

    Raises:
        AirflowSkipException: of a day whose hours come one by one, the last is not there yet.
    """
    from lastaisle.errors import NotEnoughDataError
    from lastaisle.sessions.windows import newest_data_end

    settings = Settings.from_env()
    try:
        waiting = unfinished(key, newest_data_end(open_lake(settings)), settings)
    except NotEnoughDataError as nothing_to_learn:
        raise AirflowSkipException(str(nothing_to_learn)) from nothing_to_learn
    if waiting:
        raise AirflowSkipException(waiting)
    return plan("incremental", data_end=interval(key)[1])


@task(pool=TRAINING_POOL, priority_weight=AHEAD)
def train_and_evaluate(planned: dict[str, Any]) -> str:
    """Train, judge beside champion and baselines, and return the MLflow run's id; the report lies in it.

    A task that died after the training finds the finished run by its key, and only judges. Too few sessions
    fail at once, since trying again adds none.
    """
    from lastaisle.errors import NotEnoughDataError
    from lastaisle.evaluation.evaluate import evaluate_candidate
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.registry.registry import Registry
    from lastaisle.training.refresh import finish_refresh
    from lastaisle.training.train import train_candidate

    settings = Settings.from_env()
    lake, registry = open_lake(settings), Registry(settings)
    training_plan = TrainingPlan.from_json(json.dumps(planned))
    began = perf_counter()
    try:
        run_id = train_candidate(training_plan, lake, registry)
    except NotEnoughDataError as too_few:
        finish_refresh(lake, training_plan)  # of these abandonments nothing can be learned later either
        raise AirflowFailException(str(too_few)) from too_few
    log.info("Trained MLflow run %s in %.1f s; evaluating it", run_id, perf_counter() - began)
    note_trained_run(get_current_context()["ti"], run_id)
    began = perf_counter()
    report = evaluate_candidate(run_id, lake, registry)
    log.info("Evaluated it on %d sessions in %.1f s", report.sessions, perf_counter() - began)
    return run_id


@task
def release_candidate(trained: str) -> dict[str, Any]:
    """Register the candidate, and promote it if the gate lets it."""
    from lastaisle.evaluation.evaluate import evaluate_candidate as evaluate
    from lastaisle.registry.registry import Registry
    from lastaisle.release.gate import GateRules
    from lastaisle.release.release import release_candidate as release

    settings = Settings.from_env()
    lake, registry = open_lake(settings), Registry(settings)
    # Returns what is stored, unless the champion moved since: then it judges against the new one.
    evaluate(trained, lake, registry)
    actor = actor_of(get_current_context()["dag_run"])
    rules = GateRules.of(settings)
    decision = release(trained, lake, registry, actor=actor, rules=rules)
    version = registry.version_for_run(trained)
    log.info("Version %s %s: %s", version, "promoted" if decision.promote else "refused", decision.reasons)
    serves = registry.aliases().get("champion") == version
    return {
        "version": version,
        "promoted": decision.promote,
        "champion_moved": decision.promote and serves,
        "reasons": list(decision.reasons),
    }


@task(outlets=[CHECKOUT_RECOMMENDER])
def announce_champion(move: dict[str, Any], *, outlet_events: Any = None) -> None:
    """Tell who listens to the asset that the champion moved; skip where it stayed."""
    if not move["champion_moved"]:
        raise AirflowSkipException("the champion stays: nothing to announce")
    outlet_events[CHECKOUT_RECOMMENDER].extra = {"version": move["version"]}


def require_fallback(planned: Mapping[str, Any], move: Mapping[str, Any]) -> dict[str, str]:
    """Return why a full training is started, and up to which moment it learns.

    Raises:
        AirflowSkipException: the candidate was promoted, or its refusal is not the second in a row.
    """
    from lastaisle.registry.ledger import Ledger
    from lastaisle.release.fallback import full_training_due

    settings = Settings.from_env()
    due = full_training_due(Ledger(open_lake(settings), settings.model_name).moves(), str(move["version"]))
    if due is None:
        raise AirflowSkipException("no second refusal in a row: nothing to fall back from")
    return {"note": due, "data_end": str(planned["holdout_end"])}


def roll_back(to_version: int | None, reason: str, dry_run: bool, dag_run: Any) -> dict[str, Any]:
    """Move the champion back, or say what would move; tried again, the same DAG run moves it once."""
    from lastaisle.registry.registry import Registry
    from lastaisle.release.rollback import rollback

    settings = Settings.from_env()
    report = rollback(
        open_lake(settings),
        Registry(settings),
        to_version=None if to_version is None else str(to_version),
        reason=reason.strip() or ("dry run" if dry_run else ""),
        actor=actor_of(dag_run),
        dry_run=dry_run,
        request_id=dag_run.run_id,
    )
    log.info("%s", report)
    return {"version": report.to_version, "champion_moved": report.moved, **report.to_dict()}
