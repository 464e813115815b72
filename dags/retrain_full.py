"""Learn anew from a long window.

Every Monday, and by hand: a model from scratch on the last 30 days (`LASTAISLE_FULL_WINDOW_HOURS`), so that
what warm starts never unlearn, dead items and old tastes, leaves the model. Judged and released like any
other candidate: it must not be worse than the champion on the same sessions.

**By hand:** `airflow dags trigger retrain_full --conf '{"window_hours": 336, "epochs": 6}'`, or the form
behind the Trigger button. A parameter left empty takes its setting. `data_end` (UTC) trains as if that were
now, for a comparison with the past; empty means the end of the newest day in `events`.

**Another model:** `--conf '{"architecture": "gru", "hyperparameters": {"layers": 2}}'`, or for every full
training `LASTAISLE_ARCHITECTURE` and `LASTAISLE_HYPERPARAMETERS`. Once it is champion, `retrain_incremental`
goes on with it.

**Started by drift:** `detect_drift` starts it too; the run's note then says in words what drifted.

**A refused candidate** is kept and serves nobody: see the log of `release_candidate`, or the MLflow run.

**Again:** safe at any time; a run with the same data and the same parameters reuses what is finished, also
where `train_and_evaluate` died after its training.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, chain, dag, get_current_context, task

from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.links import link_to_mlflow
from lastaisle_airflow.tasks.learning import announce_champion, release_candidate, train_and_evaluate


def _optional(kind: str, description: str, **limits: Any) -> Param:
    return Param(None, description, type=["null", kind], **limits)


PARAMS = {
    "window_hours": _optional("number", "Length of the window.", exclusiveMinimum=0),
    "half_life_hours": _optional("number", "Age at which a session weighs one half.", exclusiveMinimum=0),
    "epochs": _optional("integer", "Passes over the window.", minimum=1, maximum=100),
    "embedding_size": _optional("integer", "Length of an item's vector.", minimum=8, maximum=1024),
    "learning_rate": _optional("number", "Adam's step.", exclusiveMinimum=0, maximum=1),
    "architecture": _optional(
        "string", "attention, gru, transformer, hybrid, neighbours, factorization, ncf or ensemble."
    ),
    "hyperparameters": _optional("object", 'Any others by their names: {"layers": 2, "loss": "bpr_max"}.'),
    "data_end": _optional("string", "Take no data from this moment on (UTC).", format="date-time"),
}


@dag(
    schedule=CronTriggerTimetable("0 3 * * 1", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning", "execution_timeout": timedelta(hours=4)},
    dagrun_timeout=timedelta(hours=8),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def retrain_full() -> None:
    """Learn anew from a long window."""

    @task
    def plan_window() -> dict[str, Any]:
        from lastaisle_airflow.tasks.learning import given_params, plan

        return plan("full", **given_params(get_current_context()["params"]))

    planned = plan_window()
    evaluated = train_and_evaluate(planned)
    released = release_candidate(evaluated)
    link_to_mlflow(evaluated, released)
    # Judged before released, and announced only when the champion moved: services listen to the announcement.
    chain(planned, evaluated, released, announce_champion(released))


retrain_full()
