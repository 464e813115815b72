"""The trials of a tuning: in a database, so that a killed one goes on, and in MLflow, for people to see."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lastaisle.errors import ExitCode, LastaisleError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

STUDY_TAG, TRIAL_TAG, PARENT_TAG = "lastaisle.study", "lastaisle.trial", "mlflow.parentRunId"


class TuningError(LastaisleError):
    """A search that cannot be, or another one under the same name."""

    exit_code = ExitCode.WRONG_REQUEST


class RunStore(Protocol):
    """What a tuning needs of the registry."""

    client: Any

    @property
    def experiment_id(self) -> str:
        """Return the experiment's id."""

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log hyperparameters."""

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log metrics."""


@contextmanager
def hold_alone(path: Path, name: str) -> Iterator[None]:
    """Hold a lock that a killed process gives back: two tunings would end each other's trials."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TuningError(
                f"another process tunes the study {name!r} now (lock {path}): wait for it, or name another "
                "--study"
            ) from error
        yield


def open_study(name: str, about: Mapping[str, Any], home: Path, seed: int) -> Study:
    """Open the study, or begin it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name, storage=f"sqlite:///{database(home)}", direction="maximize", load_if_exists=True
    )
    # With the seed alone a study that goes on would draw again what it has drawn.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    before = study.user_attrs.get("about")
    if before is None:
        study.set_user_attr("about", dict(about))
    elif before != dict(about):
        other = {key: before.get(key) for key in about if before.get(key) != about[key]}
        raise TuningError(
            f"the study {name!r} of {database(home)} was begun with {json.dumps(other)}, now it is "
            f"{json.dumps({key: about[key] for key in other})}: name another --study"
        )
    return study


def database(home: Path) -> Path:
    """Return the SQLite file with all studies."""
    return home / "studies.db"


def finished_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that count: those that have a value."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def parent_run(name: str, about: Mapping[str, Any], store: RunStore) -> str:
    """Return the study's run in MLflow, which is made once."""
    found = store.client.search_runs(
        [store.experiment_id], f"tags.`{STUDY_TAG}` = '{name}' and tags.`{TRIAL_TAG}` = 'all'"
    )
    if found:
        store.client.update_run(found[0].info.run_id, status="RUNNING")
        return str(found[0].info.run_id)
    run = store.client.create_run(
        store.experiment_id,
        run_name=f"tune {name}",
        tags={STUDY_TAG: name, TRIAL_TAG: "all", "lastaisle.about": json.dumps(about)},
    )
    return str(run.info.run_id)


def end_open_trials(study: Study, parent: str, store: RunStore) -> None:
    """End what a killed process left open: its trial does not count, and its run says so."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    finished = {str(trial.number) for trial in finished_trials(study)}
    for run in store.client.search_runs([store.experiment_id], f"tags.`{PARENT_TAG}` = '{parent}'"):
        if run.info.status == "RUNNING":
            done = run.data.tags[TRIAL_TAG] in finished
            store.client.set_terminated(run.info.run_id, "FINISHED" if done else "KILLED")


def suggest(trial: Trial, name: str, found: Any) -> Any:
    """Let the trial choose a value from a range of models/search_space.py, a fraction to four digits."""
    from models.search_space import OneOf

    if isinstance(found, OneOf):
        return trial.suggest_categorical(name, found.values)
    if isinstance(found.low, int):
        return trial.suggest_int(name, found.low, int(found.high), log=found.log)
    return float(f"{trial.suggest_float(name, found.low, found.high, log=found.log):.4g}")
