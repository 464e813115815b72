"""The trials of a tuning: in a database, so that a killed tuning goes on, and in MLflow, for people."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna import Study, Trial
from optuna.trial import FrozenTrial, TrialState

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.registry.run import FINISHED, KILLED, RUNNING
from models.search_space import Between, OneOf

if TYPE_CHECKING:
    from lastaisle.registry.registry import Registry

STUDY_TAG, TRIAL_TAG, PARENT_TAG = "lastaisle.study", "lastaisle.trial", "mlflow.parentRunId"


class TuningError(LastaisleError):
    """A search that is not possible, or another search under the same name."""

    exit_code = ExitCode.WRONG_REQUEST


@contextmanager
def hold_alone(path: Path, name: str) -> Iterator[None]:
    """Hold a lock, which a killed process gives back: two tunings would end each other's trials."""
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
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name, storage=f"sqlite:///{database(home)}", direction="maximize", load_if_exists=True
    )
    # With the seed alone a study that goes on would draw the same values again.
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
    """Return the trials that count, which are the trials with a value."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def parent_run(name: str, about: Mapping[str, Any], registry: Registry) -> str:
    """Return the study's run in MLflow; the first call begins it."""
    tags = {STUDY_TAG: name, TRIAL_TAG: "all"}
    earlier = registry.find_runs(tags)
    if earlier:
        registry.resume_run(earlier[0].run_id)
        return earlier[0].run_id
    return registry.begin_run(f"tune {name}", {**tags, "lastaisle.about": json.dumps(about)})


def end_open_trials(study: Study, parent: str, registry: Registry) -> None:
    """End the trials and runs that a killed process left open; such a trial does not count."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    finished = {str(trial.number) for trial in finished_trials(study)}
    for run in registry.find_runs({PARENT_TAG: parent}):
        if run.status == RUNNING:
            registry.end_run(run.run_id, FINISHED if run.tags[TRIAL_TAG] in finished else KILLED)


def suggest(trial: Trial, name: str, values: OneOf | Between) -> Any:
    """Let the trial choose a value from a range of models/search_space.py, a fraction to four digits."""
    if isinstance(values, OneOf):
        return trial.suggest_categorical(name, values.values)
    if isinstance(values.low, int):
        return trial.suggest_int(name, values.low, int(values.high), log=values.log)
    return float(f"{trial.suggest_float(name, values.low, values.high, log=values.log):.4g}")
