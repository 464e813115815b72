"""Ways of keeping a model fresh, as a replay compares them: each learns, then ranks the next period."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from lastaisle.training.warm_start import newest_with_replay

if TYPE_CHECKING:
    from models.data.sequences import Examples, SessionLog
    from models.evaluation.ranking import Ranking
    from models.online.delta import OnlineDelta
    from models.options import TrainingOptions
    from models.recommender import Recommender

STRATEGIES = ("frozen", "scratch", "incremental", "online", "ensemble")
MEMBERS = 3  # of the ensemble: the newest and those before it
SLICES = 24  # of a period, after each of which the online updates are seen: the hours of a day


class Start:
    """The first model of all strategies: trained once, and a copy for each, since they learn on.

    Args:
        architecture: which recommender.
        options: hyperparameters.
    """

    def __init__(self, architecture: str, options: TrainingOptions) -> None:
        self.architecture = architecture
        self.options = options
        self._trained: tuple[Recommender, float] | None = None

    def train(self, seen: SessionLog) -> tuple[Recommender, float]:
        """Return a model trained from scratch, and the seconds that took."""
        from models.recommender import create

        recommender = create(self.architecture, self.options)
        return recommender, recommender.fit(seen, None, self.options).seconds

    def first(self, seen: SessionLog) -> tuple[Recommender, float]:
        """Return the first model, and the seconds that its training takes."""
        if self._trained is None:
            self._trained = self.train(seen)
        recommender, seconds = self._trained
        return copy_of(recommender), seconds


class Strategy(ABC):
    """One way of keeping a model fresh.

    Attributes:
        start: trains the first model.
        recommender: the model, after the first period.
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self.recommender: Recommender | None = None

    @property
    def model(self) -> Recommender:
        """The model that ranks the next period."""
        assert self.recommender is not None, "learn first"
        return self.recommender

    @abstractmethod
    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Learn from what was seen so far; return the seconds that took.

        Args:
            seen: the sessions of all periods so far.
            newest: those of the newest period alone.
        """

    def rank(self, log: SessionLog, examples: Examples) -> tuple[Ranking, float]:
        """Rank the targets of the next period; return the seconds spent on learning meanwhile."""
        from models.evaluation.ranking import rank_targets

        return rank_targets(self.model, examples), 0.0


class Frozen(Strategy):
    """Learns from the first period, and never again."""

    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Learn, the first time."""
        if self.recommender is not None:
            return 0.0
        self.recommender, seconds = self.start.first(seen)
        return seconds


class Scratch(Strategy):
    """Learns anew from all periods so far."""

    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Learn, the first time as the others do."""
        train = self.start.first if self.recommender is None else self.start.train
        self.recommender, seconds = train(seen)
        return seconds


class Incremental(Strategy):
    """Goes on from its own weights, on the newest period and a sample of the older ones."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self._learned_until = 0.0
        self._seconds = 0.0

    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Learn; asked again about the same sessions, as by an ensemble, nothing more."""
        end = float(seen.ended_at[-1]) + 1e-6
        if end == self._learned_until:
            return self._seconds
        if self.recommender is None:
            self.recommender, self._seconds = self.start.first(seen)
        else:
            options = self.start.options
            mix = newest_with_replay(seen, self._learned_until, options.seed)
            alike = np.ones(len(mix), np.float32)  # what was replayed counts as much as what is new
            self._seconds = self.recommender.warm_start(mix, alike, options).seconds
        self._learned_until = end
        return self._seconds


class Online(Incremental):
    """Incremental, and between two trainings the embeddings move after each session.

    The period is cut into SLICES of equal length: a session that begins in a slice is ranked by what the
    sessions that ended before that slice have taught. What they taught of items is folded in at the next
    training, and the shoppers go on beside it.
    """

    _delta: OnlineDelta | None = None

    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Fold in what moved, and train on."""
        from models.online.delta import OnlineDelta
        from models.online.model import folded

        before = self._delta
        if before is not None:
            self.recommender = folded(self.model, before)
        seconds = super().learn(seen, newest)
        self._delta = OnlineDelta.on(self.model)
        if before is not None:
            self._delta.shoppers = before.shoppers
        return seconds

    def rank(self, log: SessionLog, examples: Examples) -> tuple[Ranking, float]:
        """Rank slice by slice, learning from the sessions that ended before each."""
        from models.evaluation.ranking import Ranking, rank_targets
        from models.online.model import OnlineModel

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
        ranks, top, session = (
            np.concatenate([getattr(part, name) for part in parts])[back]
            for name in ("ranks", "top", "session")
        )
        return Ranking(ranks, top, session, parts[-1].n_items), seconds


class LastOnes(Strategy):
    """An ensemble of the last MEMBERS models of the incremental strategy.

    Their weights go by age, and are learned on each period by the models that have not seen it yet; until
    there are such, all weigh the same.
    """

    def __init__(self, start: Start, incremental: Incremental) -> None:
        super().__init__(start)
        self._incremental = incremental
        self._members: list[Recommender] = []

    def learn(self, seen: SessionLog, newest: SessionLog) -> float:
        """Learn the weights on the newest period, then take in the model that has learned from it."""
        from models.blend.ensemble import Ensemble
        from models.data.sequences import SessionLog

        began = perf_counter()
        judged = Ensemble.of(_numbered(self._members), newest) if self._members else None
        seconds = perf_counter() - began + self._incremental.learn(seen, newest)
        self._members = [copy_of(self._incremental.model), *self._members][:MEMBERS]
        ensemble = Ensemble.of(_numbered(self._members), SessionLog.from_lists([]))
        if judged is not None and len(judged.weights) == len(self._members):
            ensemble.restore(judged.arrays())
        self.recommender = ensemble
        return seconds


def strategies_of(architecture: str) -> tuple[str, ...]:
    """Return the strategies that can be compared with an architecture."""
    from models.online.delta import LEARNS_ONLINE

    left_out = {"online"} if architecture not in LEARNS_ONLINE else set()
    if architecture == "popularity":  # which has no scorer that could be blended
        left_out.add("ensemble")
    return tuple(name for name in STRATEGIES if name not in left_out)


def make_strategies(names: Sequence[str], start: Start) -> dict[str, Strategy]:
    """Make strategies by their names; the ensemble shares the models of the incremental one."""
    incremental = Incremental(start)
    makers: dict[str, Callable[[], Strategy]] = {
        "frozen": lambda: Frozen(start),
        "scratch": lambda: Scratch(start),
        "incremental": lambda: incremental,
        "online": lambda: Online(start),
        "ensemble": lambda: LastOnes(start, incremental),
    }
    return {name: makers[name]() for name in names}


def copy_of(recommender: Recommender) -> Recommender:
    """Return a model that learns on by itself."""
    from models.recommender import load

    with tempfile.TemporaryDirectory() as folder:
        recommender.save(Path(folder))
        return load(Path(folder))


def _numbered(members: Sequence[Recommender]) -> dict[str, Recommender]:
    return {f"last-{age}": member for age, member in enumerate(members)}
