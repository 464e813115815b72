"""The one interface of all models, and how they are made, saved and loaded by name."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import Context, SessionLog
from models.data.vocabulary import Vocabulary
from models.options import OBJECTIVE_WEIGHTS, Progress, TrainingOptions, TrainingReport

FORMAT = 1
# Model name to "module:Class"; imported when a model is made, since most need TensorFlow.
_MODULES: dict[str, str] = {
    "attention": "models.sequential.attention:Attention",
    "gru": "models.sequential.gru:GRU",
    "transformer": "models.sequential.transformer:Transformer",
    "hybrid": "models.sequential.hybrid:Hybrid",
    "neighbours": "models.counting.neighbours:Neighbours",
    "factorization": "models.factors.factorization:Factorization",
    "ncf": "models.factors.ncf:NCF",
    "ensemble": "models.blend.ensemble:Ensemble",
    "popularity": "models.counting.baselines:Popularity",
    "cooccurrence": "models.counting.baselines:Cooccurrence",
}
MODEL_NAMES = tuple(_MODULES)


class ModelError(ValueError):
    """A model that does not exist or whose files cannot be read."""

    exit_code = 2


class Recommender(ABC):
    """A model that scores every item as the next one of a session.

    Sessions come as prefixes: int32 [b, length], vocabulary indices, oldest first, left-padded with 0.

    Attributes:
        name: what the model is called on the command line and in the registry.
        weighs_targets: whether options.objective_* change what it learns.
        options: hyperparameters of the latest training; a model that does not weigh targets refuses
            objectives that differ.
        vocabulary: items and their indices; empty before the first training.
        scores_are: what the scores are: the logits of a softmax, shares of a sum, or counts.
    """

    name: str
    scores_are: ClassVar[Literal["logits", "shares", "counts"]] = "logits"
    weighs_targets: ClassVar[bool] = False

    def __init__(self, options: TrainingOptions | None = None) -> None:
        self.options = options or TrainingOptions()
        self.vocabulary = Vocabulary()

    @property
    def options(self) -> TrainingOptions:
        """The hyperparameters of the latest training."""
        return self._options

    @options.setter
    def options(self, options: TrainingOptions) -> None:
        if len(set(options.objectives)) > 1 and not self.weighs_targets:
            raise ModelError(
                f"the {self.name} model learns from all events alike and cannot have "
                f"{', '.join(OBJECTIVE_WEIGHTS)} = {', '.join(f'{one:g}' for one in options.objectives)}; "
                "leave them out, or choose a sequence model"
            )
        self._options = options

    @abstractmethod
    def fit(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Train from scratch, forgetting what was learned before.

        Args:
            log: sessions, oldest first; one of a single item has nothing to predict, but counts.
            weights: float32 [n_sessions]; default from options.half_life by the sessions' order.
            options: hyperparameters from now on; default those the model has.
            progress: told from time to time.
        """

    @abstractmethod
    def warm_start(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Train on from the state the model has; items new in `log` join the vocabulary. As `fit` else."""

    @abstractmethod
    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score every item: float32 [b, vocabulary.size]; column 0 is -inf.

        Args:
            prefixes: int32 [b, length].
            context: what is known beside the items; columns that the model has no use for are passed over,
                and those that it misses count as unknown.
        """

    def knows(self, context: Context, n: int) -> NDArray[np.bool_]:
        """Tell which of n sessions it can score without an item, by their context; else popularity does."""
        return np.zeros(n, bool)

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state as arrays by name, optimizer included."""

    @abstractmethod
    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over the state that `arrays` gave; options and vocabulary are set already."""

    def _count_items(self, log: SessionLog, weights: NDArray[np.float32]) -> NDArray[np.int32]:
        """Let new items join the vocabulary and count all items of a log; return each event's item.

        Old counts are multiplied by options.memory.

        Args:
            log: sessions.
            weights: float32 [n_sessions].

        Returns:
            int32 [n_events], vocabulary indices.
        """
        self.vocabulary = self.vocabulary.grow(log.ids())
        items = self.vocabulary.encode(log.catalogue)[log.items]
        added = np.bincount(items, np.repeat(weights, log.lengths), minlength=self.vocabulary.size)
        self.vocabulary = self.vocabulary.with_counts(self.options.memory * self.vocabulary.counts + added)
        return items

    def _refuse_change(self, options: TrainingOptions, names: Sequence[str]) -> None:
        """Make sure that a warm start keeps the options that decide the shape of the state.

        Raises:
            ModelError: some of them differ from those the model has.
        """
        had, asked = ([getattr(one, name) for name in names] for one in (self.options, options))
        if asked != had:
            raise ModelError(
                f"a warm start cannot change {' or '.join(names)}: the model has {had}, "
                f"received {asked}; train from scratch instead"
            )

    def scorer(self) -> Any:
        """Return a tf.Module that scores without the rest of the model; it is exported, or blended.

        It has `score`, from int32 [b, length] to float32 [b, vocabulary.size], and `max_length`.

        Raises:
            ModelError: a model of a kind that is not served, or not trained yet.
        """
        raise ModelError(f"a {self.name} model is a baseline and cannot be served")

    def export_scorer(self, directory: Path) -> None:
        """Write the scorer as a TensorFlow SavedModel into the folder, for serving without this project."""
        import tensorflow as tf

        scorer = self.scorer()
        tf.saved_model.save(scorer, str(directory), signatures={"serving_default": scorer.score})

    def rank(
        self,
        prefixes: NDArray[np.int32],
        targets: NDArray[np.int32],
        k: int,
        context: Context | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Rank the targets among all items.

        Equal scores rank by index, the lower first, in the ranks as in the lists.

        Returns:
            ranks int32 [b], from 1, and 0 where the target is 0; and the first k items, int32 [b, k or all].

        Raises:
            ModelError: scores that are not numbers.
        """
        scores = self.scores(prefixes, context)
        if np.isnan(scores).any():  # nothing is above NaN, so every target would rank first
            raise ModelError(f"the {self.name} model scores items as NaN: its training diverged")
        k = min(k, scores.shape[1] - 1)
        ranks = np.zeros(len(targets), np.int32)
        for row, target in enumerate(targets):
            if target:
                above = np.count_nonzero(scores[row] > scores[row, target])
                ties = np.count_nonzero(scores[row, 1:target] == scores[row, target])
                ranks[row] = 1 + above + ties
        return ranks, best(scores, k)

    def recommend(
        self,
        sessions: Sequence[Sequence[str]],
        k: int = 20,
        exclude_seen: bool = False,
        exclude: Sequence[Sequence[str]] | None = None,
    ) -> tuple[list[list[str]], list[list[float]]]:
        """Return the k best items of each session, as ids and scores, best first.

        Unknown ids are left out; a session without a known item gets the popular items, scored by their
        share of all counts.

        Args:
            sessions: item ids, oldest first.
            k: how many items, at most.
            exclude_seen: leave out the session's own items.
            exclude: ids that a session's list leaves out, e.g. those in its cart; one list a session.
        """
        ids: list[list[str]] = []
        values: list[list[float]] = []
        left_out = [()] * len(sessions) if exclude is None else exclude
        for session, never in zip(sessions, left_out, strict=True):
            known = self.vocabulary.encode(session)
            known = known[known > 0][-self.options.max_length :]
            if len(known):
                scores = self.scores(known[None, :])[0]
            else:
                counts = self.vocabulary.counts
                scores = (counts / max(counts.sum(), 1e-12)).astype(np.float32)
                scores[0] = -np.inf
            if exclude_seen:
                scores[self.vocabulary.encode(session)] = -np.inf
            scores[self.vocabulary.encode(never)] = -np.inf
            top = best(scores[None, :], min(k, len(self.vocabulary)))[0]
            top = top[np.isfinite(scores[top])]
            ids.append([str(item) for item in self.vocabulary.decode(top)])
            values.append([float(score) for score in scores[top]])
        return ids, values

    def save(self, directory: Path) -> None:
        """Write model.json, vocabulary.json and state.npz (plain arrays, no pickle) into the folder."""
        directory.mkdir(parents=True, exist_ok=True)
        description = {"format": FORMAT, "name": self.name, "options": self.options.to_dict()}
        (directory / "model.json").write_text(json.dumps(description, indent=2), encoding="utf-8")
        self.vocabulary.save(directory / "vocabulary.json")
        np.savez(directory / "state.npz", **self.arrays())  # type: ignore[arg-type]

    def read(self, directory: Path) -> None:
        """Take over the vocabulary and the state that `save` wrote; the options are set already."""
        self.vocabulary = Vocabulary.load(directory / "vocabulary.json")
        with np.load(directory / "state.npz", allow_pickle=False) as arrays:
            self.restore(dict(arrays))


def best(scores: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """Return the columns of the k highest scores of each row, best first, ties to the lower column.

    Args:
        scores: float32 [b, size], column 0 = padding, never returned.
        k: at most size - 1.
    """
    if k < 1:
        return np.zeros((len(scores), 0), np.int32)
    items = scores[:, 1:]
    floor = _floor(items, k)
    top = np.empty((len(scores), k), np.int32)
    for row, values in enumerate(items):
        candidates = np.flatnonzero(values >= floor[row])
        top[row] = 1 + candidates[np.lexsort((candidates, -values[candidates]))[:k]]
    return top


def _floor(items: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """Return for each row a value that at least k items reach, and few more than k.

    Of the largest of each of n / 64 groups of items, the k-th: a partition of all would take far longer.
    """
    groups = items.shape[1] // 64
    if groups <= k:
        return np.partition(items, -k, axis=1)[:, -k]
    largest = items[:, : groups * 64].reshape(len(items), 64, groups).max(axis=1)
    return np.partition(largest, -k, axis=1)[:, -k]


def checked_name(name: str) -> str:
    """Return the name of a model that exists.

    Raises:
        ModelError: a name that is none of MODEL_NAMES.
    """
    if name not in _MODULES:
        raise ModelError(f"no such model: {name!r}; there are {', '.join(MODEL_NAMES)}")
    return name


def _class_of(name: str) -> type[Recommender]:
    module, _, class_name = _MODULES[checked_name(name)].partition(":")
    found: type[Recommender] = getattr(import_module(module), class_name)
    return found


def create(name: str = "attention", options: TrainingOptions | None = None) -> Recommender:
    """Make an untrained model by its name.

    Raises:
        ModelError: a name that is none of MODEL_NAMES.
    """
    return _class_of(name)(options)


def load(directory: Path) -> Recommender:
    """Read the model that `save` wrote.

    Raises:
        ModelError: a folder without a model, or one written by a newer format.
    """
    path = directory / "model.json"
    if not path.exists():
        raise ModelError(f"no model in {directory}: model.json is missing")
    description = json.loads(path.read_text(encoding="utf-8"))
    if description.get("format") != FORMAT:
        raise ModelError(f"{path} has format {description.get('format')!r}; this version reads {FORMAT}")
    model = create(description["name"], TrainingOptions.from_dict(description["options"]))
    model.read(directory)
    return model
