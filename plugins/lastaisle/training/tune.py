"""Search a model's hyperparameters: train on all but the newest sessions, and judge on the newest.

The judging sessions are a tail of the training part. The sessions that evaluate a candidate and the test part
of a split are never used. Every finished trial stays in a database, so a killed tuning continues after its
last finished trial.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna import Study
from optuna.trial import TrialState

from lastaisle.errors import NotEnoughDataError
from lastaisle.registry.run import FAILED
from lastaisle.training.study import (
    PARENT_TAG,
    STUDY_TAG,
    TRIAL_TAG,
    TuningError,
    database,
    end_open_trials,
    finished_trials,
    hold_alone,
    open_study,
    parent_run,
    suggest,
)
from lastaisle.training.train import MIN_SESSIONS
from models.by_name import check_members, create
from models.data.sequences import decay_weights, next_item_examples
from models.evaluation.metrics import per_example
from models.evaluation.ranking import rank_targets
from models.search_space import search_space

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lastaisle.registry.registry import Registry
    from models.data.sequences import Examples, SessionLog
    from models.options import Progress, TrainingOptions

METRIC = "mrr@20+recall@20"
MIN_TARGETS = 100  # of the tail; on fewer, chance alone picks the best
REPORTED = ("precision@20", "recall@20", "mrr@20", "ndcg@20")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """The hyperparameters to search, and the way of searching.

    Attributes:
        model: a name of models.search_space.SEARCH_SPACES.
        options: the values with which the search begins; hyperparameters that are not searched keep them.
        fixed: names of hyperparameters that keep their values in `options`.
        metric: the objective: a metric of models/evaluation with its k, or a sum of metrics ("a@20+b@20").
        trials: number of finished trials in the end, with the trials of earlier calls.
        minutes: no trial begins after this many minutes; None = no limit. The first trial always begins.
        tail: share of the sessions that judge; they are the newest.
        study: name of the study; "" = a name made of the model, the metric and the data.
        half_life_hours: age at which a session weighs one half, counted from the end of the training
            sessions; None = options.half_life decides, and is searched too.
    """

    model: str
    options: TrainingOptions
    fixed: frozenset[str] = field(default_factory=frozenset)
    metric: str = METRIC
    trials: int = 20
    minutes: float | None = None
    tail: float = 0.1
    study: str = ""
    half_life_hours: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.tail < 1:
            raise TuningError(f"the tail should be a share between 0 and 1, received {self.tail!r}")
        if self.trials < 1:
            raise TuningError(f"trials should be at least 1, received {self.trials!r}")
        if not re.fullmatch(r"[\w.-]*", self.study):
            raise TuningError(f"a study's name has letters, digits and . _ - only, received {self.study!r}")
        if self.minutes is not None and not self.minutes >= 0:
            raise TuningError(f"minutes should be at least 0, received {self.minutes!r}")
        check_members(self.model, self.options)
        if self.options.epsilon is not None:
            raise TuningError(
                f"each trial of a tuning would spend epsilon {self.options.epsilon:g} of the privacy budget, "
                "and no row of privacy_spent would say so: tune without noise (--set epsilon=null), and "
                "train with the options that it finds"
            )


@dataclass(frozen=True)
class _Work:
    """The data that all trials share: the training sessions with their weights, and the judging targets."""

    search: Search
    train: SessionLog
    weights: NDArray[np.float32] | None
    examples: Examples


def tune(
    log: SessionLog,
    search: Search,
    registry: Registry,
    home: Path,
    *,
    progress: Progress | None = None,
    on_trial: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Search until the study has enough finished trials or the time is over, and return the best options.

    The first trial takes the given options, so the best trial is never worse than they are. A trial whose
    loss becomes NaN or infinite has the value 0.

    Args:
        log: sessions of the training part, oldest first.
        search: the hyperparameters to search, and how.
        registry: MLflow; the study is a run there, each trial a nested one.
        home: folder of the studies' database and locks.
        progress: called from time to time with the share that is done.
        on_trial: called with each finished trial: trial, value, best, seconds, options, metrics.

    Returns:
        study, database, run_id, model, metric, sessions, tail_sessions, targets, finished, tried, failed,
        start (the value of the given options), best {trial, value, metrics, options} and trials.

    Raises:
        NotEnoughDataError: too few sessions to train on, or too few targets to judge by.
        TuningError: nothing to search, an unknown metric, or another search or process under this name.
    """
    names = _metrics(search.metric)
    space = _space(search)
    work = _split(log, search)
    about = _about(work, sorted(space))
    name = search.study or f"{search.model}-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:10]}"
    home.mkdir(parents=True, exist_ok=True)
    with hold_alone(home / f"{name}.lock", name):
        study = open_study(name, about, home, search.options.seed)
        parent = parent_run(name, about, registry)
        end_open_trials(study, parent, registry)
        began, tried = time.monotonic(), 0
        while (done := len(finished_trials(study))) < search.trials and (
            tried == 0 or search.minutes is None or time.monotonic() - began < 60 * search.minutes
        ):
            share = _within(progress, done, search.trials)
            result = _try(study, space, work, names, parent=parent, registry=registry, progress=share)
            tried += 1
            if on_trial:
                on_trial({**result, "best": study.best_value})
        registry.end_run(parent)
        return _report(study, work, parent=parent, home=home, tried=tried)


def _metrics(metric: str) -> list[str]:
    """Return the metrics that a sum adds."""
    names = [part.strip() for part in metric.split("+")]
    for name in names:
        try:
            per_example(name, np.ones(1, np.int32))
        except ValueError as error:
            raise TuningError(f"cannot tune for {metric!r}: {error}") from error
    return names


def _space(search: Search) -> dict[str, Any]:
    """Return the ranges to search: the model's ranges without the fixed hyperparameters."""
    fixed = search.fixed | ({"half_life"} if search.half_life_hours is not None else set())
    space = {name: values for name, values in search_space(search.model).items() if name not in fixed}
    if not space:
        raise TuningError(f"nothing to search: every hyperparameter of a {search.model} model is fixed")
    return space


def _split(log: SessionLog, search: Search) -> _Work:
    """Split off the newest sessions, which judge."""
    log = log.select(np.argsort(log.ended_at, kind="stable"))
    cut = len(log) - round(search.tail * len(log))
    train, tail = log.select(slice(cut)), log.select(slice(cut, None))
    examples = next_item_examples(tail)
    sessions = int((train.lengths >= 2).sum())
    if sessions < MIN_SESSIONS or len(examples) < MIN_TARGETS:
        raise NotEnoughDataError(
            f"of {len(log):,} sessions a tail of {search.tail:g} leaves {sessions:,} of two items or more to "
            f"train on and {len(examples):,} targets to judge by, but tuning needs {MIN_SESSIONS} and "
            f"{MIN_TARGETS}: take more sessions, or another --tail"
        )
    weights = None
    if search.half_life_hours is not None:
        weights = decay_weights(train.ended_at, None, search.half_life_hours * 3600)
    return _Work(search, train, weights, examples)


def _about(work: _Work, searched: list[str]) -> dict[str, Any]:
    """Describe the data and settings of a study: trials of another search cannot be compared."""
    search, digest = work.search, hashlib.sha256()
    for log in (work.train, work.examples.log):
        digest.update("\n".join(map(str, log.catalogue)).encode())
        for array in (log.items, log.offsets, log.ended_at):
            digest.update(array.tobytes())
    kept = {name: value for name, value in search.options.to_dict().items() if name not in searched}
    return {
        "model": search.model,
        "metric": search.metric,
        "tail": search.tail,
        "half_life_hours": search.half_life_hours,
        "data": digest.hexdigest()[:16],
        "kept": kept,
    }


def _try(
    study: Study,
    space: Mapping[str, Any],
    work: _Work,
    names: list[str],
    *,
    parent: str,
    registry: Registry,
    progress: Progress | None,
) -> dict[str, Any]:
    """Run one trial, which counts when the study's database has its value."""
    if not finished_trials(study) and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        start = work.search.options.to_dict()
        study.enqueue_trial({name: start[name] for name in space}, user_attrs={"start": True})
    trial = study.ask()
    chosen = {name: suggest(trial, name, space[name]) for name in space}
    trial.set_user_attr("options", chosen)
    options = work.search.options.but(**chosen)
    name = study.study_name
    tags = {PARENT_TAG: parent, STUDY_TAG: name, TRIAL_TAG: str(trial.number)}
    run_id = registry.begin_run(f"{name} {trial.number}", tags)
    try:
        registry.log_params(run_id, options.to_dict())
        began = time.perf_counter()
        metrics = _judge(work, options, names, progress)
        seconds = time.perf_counter() - began
        value = sum(metrics[name] for name in names)
        registry.log_metrics(run_id, {**metrics, "objective": value, "seconds": seconds})
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        registry.end_run(run_id, FAILED)
        raise
    trial.set_user_attr("metrics", metrics)
    study.tell(trial, value)
    registry.log_metrics(parent, {"best": study.best_value}, trial.number)
    registry.end_run(run_id)
    gc.collect()  # a trained model is part of a reference cycle
    return {
        "trial": trial.number,
        "value": value,
        "seconds": seconds,
        "options": chosen,
        "metrics": metrics,
    }


def _judge(
    work: _Work, options: TrainingOptions, names: list[str], progress: Progress | None
) -> dict[str, float]:
    """Train from scratch, and rank the targets of the tail."""
    recommender = create(work.search.model, options)
    report = recommender.fit(work.train, work.weights, options, progress)
    wanted = dict.fromkeys([*REPORTED, *names])
    if not all(map(math.isfinite, report.losses)):  # NaN scores would rank all targets first
        logger.warning("the loss of %s is NaN or infinite: the trial has the value 0", options)
        return dict.fromkeys(wanted, 0.0)
    ranks = rank_targets(recommender, work.examples).ranks
    return {name: float(per_example(name, ranks).mean()) for name in wanted}


def _within(progress: Progress | None, done: int, trials: int) -> Progress | None:
    """Return a callback that reports one trial's progress as a share of all trials."""
    if progress is None:
        return None
    return lambda share, step: progress((done + share) / trials, f"trial {done + 1} of {trials}: {step}")


def _report(study: Study, work: _Work, *, parent: str, home: Path, tried: int) -> dict[str, Any]:
    finished = finished_trials(study)
    searched = [
        {"trial": trial.number, "value": trial.value}
        | {name: trial.user_attrs[name] for name in ("metrics", "options")}
        for trial in finished
    ]
    started = (trial.value for trial in finished if trial.user_attrs.get("start"))
    return {
        "study": study.study_name,
        "database": str(database(home)),
        "run_id": parent,
        "model": work.search.model,
        "metric": work.search.metric,
        "sessions": len(work.train),
        "tail_sessions": len(work.examples.log),
        "targets": len(work.examples),
        "finished": len(finished),
        "tried": tried,
        "failed": len(study.get_trials(deepcopy=False, states=(TrialState.FAIL,))),
        "start": next(started, None),
        "best": next(entry for entry in searched if entry["trial"] == study.best_trial.number),
        "trials": searched,
    }
