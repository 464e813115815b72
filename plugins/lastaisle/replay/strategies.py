"""The training strategies that a replay compares: each learns, then ranks the next period."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from lastaisle.training.warm_start import newest_with_replay
from models.blend.ensemble import Ensemble
from models.by_name import create, load
from models.data.sequences import Examples, SessionLog
from models.evaluation.ranking import Ranking, rank_targets
from models.online.delta import LEARNS_ONLINE, OnlineDelta
from models.online.model import OnlineModel, folded
from models.options import TrainingOptions
from models.recommender import Recommender

STRATEGIES = ("frozen", "scratch", "incremental", "online", "ensemble")
MEMBERS = 3  # of the ensemble: the newest model and two before it
SLICES = 24  # of a period, like the hours of a day; online updates take effect after each slice


class FirstModel:
    """The first model of all strategies: trained once; each strategy gets a copy, and trains it further.

    Args:
        architecture: name of the recommender.
        options: hyperparameters.
    """

    def __init__(self, architecture: str, options: TrainingOptions) -> None:
        self.architecture = architecture
        self.options = options
        self._trained: tuple[Recommender, float] | None = None

    def train(self, seen: SessionLog) -> tuple[Recommender, float]:
        """Return a model trained from scratch, and the seconds of its training."""
        recommender = create(self.architecture, self.options)
        return recommender, recommender.fit(seen, None, self.options).seconds

    def copy(self, seen: SessionLog) -> tuple[Recommender, float]:
        """Return a copy of the first model, and the seconds of its training; the first call trains it."""
        if self._trained is None:
            self._trained = self.train(seen)
        recommender, seconds = self._trained
        return copy_of(recommender), seconds


class Strategy(ABC):
    """One way to keep a model up to date.

    Attributes:
        first_model: the first model, which all strategies share.
        recommender: the model; None before the first period.
    """

    def __init__(self, first_model: FirstModel) -> None:
        self.first_model = first_model
        self.recommender: Recommender | None = None

    @property
    def model(self) -> Recommender:
        """The model that ranks the next period."""
        assert self.recommender is not None, "learn first"
        return self.recommender

    @abstractmethod
    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Learn from the periods so far; return the seconds of the training.

        Args:
            seen: the sessions of all periods so far.
            newest: the sessions of the newest period alone.
        """

    def rank(self, log: SessionLog, examples: Examples) -> tuple[Ranking, float]:
        """Rank the targets of the next period; return the seconds of learning during that period."""
        return rank_targets(self.model, examples), 0.0


class Frozen(Strategy):
    """Learns from the first period, and never again."""

    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Learn in the first call only."""
        if self.recommender is not None:
            return 0.0
        self.recommender, seconds = self.first_model.copy(seen)
        return seconds


class Scratch(Strategy):
    """Learns from scratch on all periods so far."""

    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Learn from scratch; the first call takes the model that all strategies share."""
        train = self.first_model.copy if self.recommender is None else self.first_model.train
        self.recommender, seconds = train(seen)
        return seconds


class Incremental(Strategy):
    """Goes on from its own weights, on the newest period and a sample of the older ones."""

    def __init__(self, first_model: FirstModel) -> None:
        super().__init__(first_model)
        self._learned_until = 0.0
        self._seconds = 0.0

    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Learn; a second call with the same sessions, as an ensemble makes it, learns nothing more."""
        end = float(seen.ended_at[-1]) + 1e-6
        if end == self._learned_until:
            return self._seconds
        if self.recommender is None:
            self.recommender, self._seconds = self.first_model.copy(seen)
        else:
            options = self.first_model.options
            mix = newest_with_replay(seen, self._learned_until, options.seed)
            weights = np.ones(len(mix), np.float32)  # replayed sessions count as much as new sessions
            self._seconds = self.recommender.warm_start(mix, weights, options).seconds
        self._learned_until = end
        return self._seconds


class Online(Incremental):
    """Learns as Incremental does; between two trainings the embeddings move after each session.

    The period is cut into SLICES of equal length. A session that begins in a slice is ranked by embeddings
    that have learned from the sessions that ended before the slice. The next training starts from the moved
    embeddings of items. The vectors of shoppers are kept beside the model.
    """

    _delta: OnlineDelta | None = None

    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Fold the moved embeddings into the model, and train it further."""
        before = self._delta
        if before is not None:
            self.recommender = folded(self.model, before)
        seconds = super().learn(seen, newest)
        self._delta = OnlineDelta.on(self.model)
        if before is not None:
            self._delta.shoppers = before.shoppers
        return seconds

    def rank(self, log: SessionLog, examples: Examples) -> tuple[Ranking, float]:
        """Rank slice by slice; after each slice learn from the sessions that ended in the slice."""
        assert self._delta is not None, "learn first"
        began = log.context.get("started_at", log.ended_at)
        edges = np.linspace(began.min(), np.nextafter(log.ended_at.max(), np.inf), SLICES + 1)
        slice_of = np.searchsorted(edges, began, side="right") - 1
        model, parts, rows, seconds = OnlineModel(self.model, self._delta), [], [], 0.0
        for number in range(SLICES):
            ended = (log.ended_at >= edges[number]) & (log.ended_at < edges[number + 1])
            chosen = np.flatnonzero(slice_of[examples.session] == number)
            parts.append(rank_targets(model, examples.select(chosen)))
            rows.append(chosen)
            started = perf_counter()
            self._delta.learn_log(log.select(ended))
            seconds += perf_counter() - started
        back = np.argsort(np.concatenate(rows), kind="stable")
        ranks = np.concatenate([part.ranks for part in parts])[back]
        top = np.concatenate([part.top for part in parts])[back]
        return Ranking(ranks, top, examples.units, parts[-1].n_items), seconds


class NewestModels(Strategy):
    """An ensemble of the MEMBERS newest models of the incremental strategy.

    Each age has a weight. The weights are learned on each new period, with models that have not learned from
    that period. While there are fewer than MEMBERS such models, all weights are equal.
    """

    def __init__(self, first_model: FirstModel, incremental: Incremental) -> None:
        super().__init__(first_model)
        self._incremental = incremental
        self._members: list[Recommender] = []

    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Learn the weights on the newest period, then add the model that has learned from that period."""
        began = perf_counter()
        weighted = Ensemble.of(_by_age(self._members), newest) if self._members else None
        seconds = perf_counter() - began + self._incremental.learn(seen, newest)
        self._members = [copy_of(self._incremental.model), *self._members][:MEMBERS]
        ensemble = Ensemble.of(_by_age(self._members), SessionLog.from_lists([]))
        if weighted is not None and len(weighted.weights) == len(self._members):
            ensemble.restore(weighted.arrays())
        self.recommender = ensemble
        return seconds


def strategies_of(architecture: str) -> tuple[str, ...]:
    """Return the names of the strategies that an architecture supports."""
    left_out = {"online"} if architecture not in LEARNS_ONLINE else set()
    if architecture in ("popularity", "repeat"):  # they have no scorer that an ensemble could blend
        left_out.add("ensemble")
    return tuple(name for name in STRATEGIES if name not in left_out)


def make_strategies(names: Sequence[str], first_model: FirstModel) -> dict[str, Strategy]:
    """Make strategies by their names; the ensemble shares the models of the incremental strategy."""
    incremental = Incremental(first_model)
    makers: dict[str, Callable[[], Strategy]] = {
        "frozen": lambda: Frozen(first_model),
        "scratch": lambda: Scratch(first_model),
        "incremental": lambda: incremental,
        "online": lambda: Online(first_model),
        "ensemble": lambda: NewestModels(first_model, incremental),
    }
    return {name: makers[name]() for name in names}


def copy_of(recommender: Recommender) -> Recommender:
    """Return a copy of a model, which can be trained further without a change of the original."""
    with tempfile.TemporaryDirectory() as folder:
        recommender.save(Path(folder))
        return load(Path(folder))


def _by_age(members: Sequence[Recommender]) -> dict[str, Recommender]:
    return {f"last-{age}": member for age, member in enumerate(members)}
