"""Search a model's hyperparameters: train on all but the newest sessions, judge on those, and remember.

What judges is a tail of the training part, never the sessions that evaluate a candidate or the test part of
a split. Every finished trial stays in a database, so a tuning that was killed goes on where it was.
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

from lastaisle.errors import NotEnoughDataError
from lastaisle.registry.runs import FAILED
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

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from optuna import Study

    from lastaisle.registry.registry import Registry
    from models.data.sequences import Examples, SessionLog
    from models.options import Progress, TrainingOptions

METRIC = "mrr@20+recall@20"
MIN_TARGETS = 100  # of the tail; on fewer, chance alone picks the best
REPORTED = ("precision@20", "recall@20", "mrr@20", "ndcg@20")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """What is searched and how.

    Attributes:
        model: one of models.search_space.SEARCH_SPACES.
        options: where the search begins, and the values of what is not searched.
        fixed: names of hyperparameters that keep their values in `options`.
        metric: what is to be high: a metric of models/evaluation with its k, or a sum of some ("a@20+b@20").
        trials: finished trials that the study has in the end, those of earlier calls included.
        minutes: no trial begins after so many; None = all of them. The first always does.
        tail: share of the sessions, the newest, that judge.
        study: its name; "" = one made of the model, the metric and the data.
        half_life_hours: age at which a session weighs one half, counted from the end of those that train;
            None = as options.half_life says, which is then searched too.
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


@dataclass(frozen=True)
class _Work:
    """What every trial shares: the sessions that train with their weights, and the targets that judge."""

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
    told: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Search until the study has so many finished trials, or the time is over; return what was found.

    The first trial takes the options as they are, so that the best is never worse than those. A trial whose
    loss is no number any more is judged as 0.

    Args:
        log: sessions of the training part, oldest first.
        search: what is searched.
        registry: MLflow; the study is a run there, each trial a nested one.
        home: folder of the studies' database and locks.
        progress: told from time to time.
        told: called with each trial that is finished: trial, value, best, seconds, options, metrics.

    Returns:
        study, database, run_id, model, metric, sessions, tail_sessions, targets, finished, tried, failed,
        start (the value of the options as they were), best {trial, value, metrics, options} and trials.

    Raises:
        NotEnoughDataError: too few sessions to train on, or targets to judge by.
        TuningError: nothing to search, a metric that is none, another search or process under this name.
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
            if told:
                told({**result, "best": study.best_value})
        registry.end_run(parent)
        return _report(study, work, parent=parent, home=home, tried=tried)


def _metrics(metric: str) -> list[str]:
    """Return the metrics of a sum of them."""
    import numpy as np

    from models.evaluation.metrics import per_example

    names = [part.strip() for part in metric.split("+")]
    for name in names:
        try:
            per_example(name, np.ones(1, np.int32))
        except ValueError as error:
            raise TuningError(f"cannot tune for {metric!r}: {error}") from error
    return names


def _space(search: Search) -> dict[str, Any]:
    """Return the ranges that are searched: those of the model, less what is fixed."""
    from models.search_space import search_space

    fixed = search.fixed | ({"half_life"} if search.half_life_hours is not None else set())
    space = {name: found for name, found in search_space(search.model).items() if name not in fixed}
    if not space:
        raise TuningError(f"nothing to search: all that can be of a {search.model} model is fixed")
    return space


def _split(log: SessionLog, search: Search) -> _Work:
    """Cut the newest sessions off, to judge by."""
    import numpy as np

    from models.data.sequences import decay_weights, next_item_examples

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
    """Describe what the values of a study depend on: trials of another search cannot be compared."""
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
    """Run one trial; it counts once the study's database has its value."""
    from optuna.trial import TrialState

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
    gc.collect()  # a trained model holds itself in a circle
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
    from models.evaluation.metrics import per_example
    from models.evaluation.ranking import rank_targets
    from models.recommender import create

    recommender = create(work.search.model, options)
    report = recommender.fit(work.train, work.weights, options, progress)
    wanted = dict.fromkeys([*REPORTED, *names])
    if not all(map(math.isfinite, report.losses)):  # scores that are no numbers would rank every target first
        logger.warning("the loss of %s is no number any more: judged as 0", options)
        return dict.fromkeys(wanted, 0.0)
    ranks = rank_targets(recommender, work.examples).ranks
    return {name: float(per_example(name, ranks).mean()) for name in wanted}


def _within(progress: Progress | None, done: int, trials: int) -> Progress | None:
    """Tell of one trial's progress as a part of all trials."""
    if progress is None:
        return None
    return lambda share, what: progress((done + share) / trials, f"trial {done + 1} of {trials}: {what}")


def _report(study: Study, work: _Work, *, parent: str, home: Path, tried: int) -> dict[str, Any]:
    from optuna.trial import TrialState

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
