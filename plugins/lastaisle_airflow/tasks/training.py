"""The tasks that plan and run a training; `train_and_evaluate` is shared by all DAGs that train.

Tasks pass only references to each other: a plan of a few numbers and names, an MLflow run id, a version.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.errors import NotEnoughDataError
from lastaisle.settings import Settings, SettingsError
from lastaisle_airflow.runtime.defaults import TRAINING_POOL
from lastaisle_airflow.runtime.links import note_trained_page, run_page
from lastaisle_airflow.runtime.notes import skipped
from lastaisle_airflow.runtime.partitions import interval, partition_of, unfinished
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences
from lastaisle_airflow.tasks.flows import tell_trained

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)

TRAINING_PRIORITY = 10
"""Trainings get the pool's slot before tasks that only measure, such as those of `detect_drift`."""


@task(task_id="plan_window")
def plan_partition_window(*, dag_run: Any = None) -> dict[str, Any]:
    """Plan the data of the incremental training of the run's partition."""
    return plan_partition(partition_of(dag_run))


@task(task_id="plan_window")
def plan_full_window(*, params: Any = None) -> dict[str, Any]:
    """Plan the data of a full training, by the run's parameters and the settings."""
    given = given_params(params)
    given.pop("allow_older", None)  # only the release reads it
    return plan("full", **given)


@task(task_id="plan_window")
def plan_federated_window(*, params: Any = None) -> dict[str, Any]:
    """Plan the data of a federated training, by the run's parameters and the settings."""
    given = given_params(params)
    given.pop("allow_older", None)  # only the release reads it
    rounds: dict[str, Any] = {name: given.pop(name) for name in ("rounds", "aggregation") if name in given}
    return plan("federated", federation=rounds, **given)


@task(pool=TRAINING_POOL, priority_weight=TRAINING_PRIORITY)
def train_and_evaluate(planned: dict[str, Any], *, ti: Any = None) -> str:
    """Train, evaluate beside champion and baselines, and return the id of the MLflow run with the report.

    A retry after the training finds the finished run by its key, and only evaluates. With too
    few sessions the task fails without a retry, since a retry would find no more sessions. So it does if the
    champion has learned the hours that would judge.
    """
    from lastaisle.evaluation.evaluate import evaluate_candidate
    from lastaisle.evaluation.judging import LearnedHoursError
    from lastaisle.privacy.budget.budget import BudgetSpentError
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
        finish_refresh(lake, training_plan)  # a later run could not learn from these abandonments either
        raise AirflowFailException(str(too_few)) from too_few
    except BudgetSpentError as spent:
        raise AirflowFailException(str(spent)) from spent
    log.info("Trained MLflow run %s in %.1f s; evaluating it", run_id, perf_counter() - began)
    note_trained_page(ti, run_page(run_id))
    began = perf_counter()
    try:
        report = evaluate_candidate(run_id, lake, registry)
    except LearnedHoursError as overtaken:
        raise AirflowFailException(str(overtaken)) from overtaken
    tell_trained(planned, run_id)
    log.info("Evaluated it on %d sessions in %.1f s", report.sessions, perf_counter() - began)
    return run_id


def given_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that were filled in, with `data_end` as a moment in UTC."""
    given = {name: value for name, value in params.items() if value not in (None, "")}
    if "data_end" in given:
        moment = datetime.fromisoformat(given["data_end"])
        given["data_end"] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return given


def plan_partition(key: str) -> dict[str, Any]:
    """Plan the data of the training of a partition, or of a day of hourly partitions; see `plan`.

    Raises:
        AirflowSkipException: there are no events yet, or the day's last hour has not come yet.
    """
    from lastaisle.sessions.windows import newest_data_end

    settings = Settings.from_env()
    try:
        reason_to_wait = unfinished(key, newest_data_end(open_lake(settings)), settings)
    except NotEnoughDataError as nothing_to_learn:
        raise skipped(str(nothing_to_learn)) from nothing_to_learn
    if reason_to_wait:
        raise skipped(reason_to_wait)
    return plan("incremental", data_end=interval(key)[1])


def plan(
    kind: str,
    *,
    data_end: datetime | None = None,
    window_hours: float | None = None,
    half_life_hours: float | None = None,
    architecture: str | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    federation: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Plan the data that a training learns from.

    Args:
        kind: incremental, full or federated.
        data_end: the moment after the last event; by default the moment after the newest event.
        window_hours: length of the window; by default as in the settings.
        half_life_hours: half-life of a session's weight; by default as in the settings.
        architecture: the model that learns; by default as in `plan_window`.
        hyperparameters: values by the names of TrainingOptions; the settings give the others.
        federation: settings of a federated training, by their names without `federation_`.
        **options: hyperparameters that have a DAG parameter of their own; they override all others.

    Raises:
        AirflowFailException: the model or a hyperparameter does not exist, the privacy budget has no room
            for the training, or a training with epsilon would not be private; a retry would not help.
        AirflowSkipException: the champion has already learned up to `data_end` or later, and its data has not
            changed since; or there are no events yet.
    """
    from lastaisle.privacy.budget.budget import BudgetSpentError
    from lastaisle.registry.registry import Registry
    from lastaisle.release.correction import plan_correction
    from lastaisle.release.start import training_start
    from lastaisle.sessions.windows import newest_data_end
    from lastaisle.training.planning import StalePlanError, plan_window
    from lastaisle.training.private import CannotBePrivateError
    from models.options import OptionsError
    from models.stored import ModelError

    try:
        settings = _with_lengths(Settings.from_env(), kind, window_hours, half_life_hours)
        changes = {f"federation_{name}": value for name, value in (federation or {}).items()}
        settings = settings.replace(**changes) if changes else settings
        lake, registry = open_lake(settings), Registry(settings)
        try:
            training_plan = plan_window(
                lake,
                settings,
                data_end or newest_data_end(lake),
                kind,
                training_start(lake, registry),
                architecture=architecture,
                options={**(hyperparameters or {}), **options},
            )
        except StalePlanError as stale:
            log.info("%s", stale)
            training_plan = plan_correction(lake, settings, registry)
    except (BudgetSpentError, CannotBePrivateError, ModelError, OptionsError, SettingsError) as wrong:
        raise AirflowFailException(str(wrong)) from wrong
    except (StalePlanError, NotEnoughDataError) as nothing_to_learn:
        raise skipped(str(nothing_to_learn)) from nothing_to_learn
    planned: dict[str, Any] = json.loads(training_plan.to_json())
    log.info("Planned %s: %s", training_plan.run_key, sentences.of_plan(planned))
    return planned


def _with_lengths(
    settings: Settings, kind: str, window_hours: float | None, half_life_hours: float | None
) -> Settings:
    """Return the settings, with the run's own length and half-life of the window if it has them."""
    prefix = "" if kind == "incremental" else "full_"
    lengths = {f"{prefix}window_hours": window_hours, f"{prefix}half_life_hours": half_life_hours}
    given: dict[str, Any] = {name: value for name, value in lengths.items() if value}
    return settings.replace(**given)
