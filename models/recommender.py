"""The interface of all models: how they learn, score, and write and read their state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.data.items import ItemTable
from models.data.sequences import Context, SessionLog
from models.data.vocabulary import Vocabulary
from models.options import (
    OBJECTIVE_WEIGHTS,
    Learned,
    Progress,
    Training,
    TrainingOptions,
    TrainingReport,
    session_weights,
)
from models.stored import (
    DamagedModelError,
    ModelError,
    check_rows,
    read_arrays,
    read_vocabulary,
    write_description,
    write_manifest,
)
from models.top_k import target_ranks, top_k

if TYPE_CHECKING:
    from models.scorer import SessionScorer

VOCABULARY, STATE = "vocabulary.json", "state.npz"
PRIVATE_MODELS = ("attention", "gru", "transformer", "cooccurrence", "popularity", "repeat")
"""The models that can be trained with epsilon."""


class Recommender(ABC):
    """A model that scores every item as the next one of a session.

    Models read sessions as prefixes: int32 [b, length], vocabulary indices, oldest first, left-padded with 0.
    `fit` and `warm_start` do what all trainings share, and call `_learn`, which each model implements.

    Attributes:
        name: the model's name on the command line and in the registry.
        scores_are: the kind of the scores: logits of a softmax, shares of a sum, or counts.
        weighs_targets: whether options.objective_* change what the model learns.
        fixed_options: the hyperparameters that a warm start cannot change.
        rows_by_item: the names of the arrays that have one row for each index of the vocabulary; a name that
            ends with a slash stands for all arrays whose names begin with it.
        item_indices: the names of the arrays that hold indices of the vocabulary.
        can_be_private: whether the model can be trained with options.epsilon.
        options: the hyperparameters of the latest training. A model that does not weigh targets refuses
            options with different objective weights.
        vocabulary: the items and their indices; empty before the first training.
        private_seed: of the noise of private trainings, and of the choice of shoppers. None, as always
            outside tests, takes a secret seed from the operating system: whoever knows it can subtract the
            noise.
    """

    name: str
    scores_are: ClassVar[Literal["logits", "shares", "counts"]] = "logits"
    weighs_targets: ClassVar[bool] = False
    fixed_options: ClassVar[tuple[str, ...]] = ()
    rows_by_item: ClassVar[tuple[str, ...]] = ()
    item_indices: ClassVar[tuple[str, ...]] = ()
    can_be_private: ClassVar[bool] = False

    def __init__(self, options: TrainingOptions | None = None) -> None:
        self.options = options or TrainingOptions()
        self.vocabulary = Vocabulary()
        self.private_seed: int | None = None

    @property
    def options(self) -> TrainingOptions:
        """The hyperparameters of the latest training."""
        return self._options

    @options.setter
    def options(self, options: TrainingOptions) -> None:
        if len(set(options.objectives)) > 1 and not self.weighs_targets:
            weights = ", ".join(f"{weight:g}" for weight in options.objectives)
            raise ModelError(
                f"the {self.name} model learns from all events alike and cannot have "
                f"{', '.join(OBJECTIVE_WEIGHTS)} = {weights}; "
                "leave these options out, or choose a sequence model"
            )
        self._options = options

    @property
    def is_trained(self) -> bool:
        """Tell whether the model has learned anything."""
        return len(self.vocabulary) > 0

    def fit(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
        items: ItemTable | None = None,
    ) -> TrainingReport:
        """Train from scratch, and forget what the model learned before.

        Args:
            log: the sessions, oldest first. A session of a single item has no target, but its item counts.
            weights: float32 [n_sessions]; by default computed from options.half_life and the sessions' order.
            options: the hyperparameters from now on; by default the hyperparameters that the model has.
            progress: is told about the progress from time to time.
            items: what the catalogue says of the items. Models outside by_name.READS_ITEMS do not read it,
                except for the ids, which are the vocabulary of a private training.
        """
        began = perf_counter()
        options = options or self.options
        self._check_training(options, is_warm=False)
        training = Training(log, session_weights(log, weights, options), weights, False, progress, items)
        self.options = options
        self.vocabulary = Vocabulary()
        self._forget()
        return self._report(training, began)

    def warm_start(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
        items: ItemTable | None = None,
    ) -> TrainingReport:
        """Continue training from the present state. New items of `log` join the vocabulary.

        The arguments are those of `fit`.

        Raises:
            ModelError: options that differ from the present ones in one of `fixed_options`.
        """
        began = perf_counter()
        options = options or self.options
        self._check_training(options, is_warm=True)
        training = Training(log, session_weights(log, weights, options), weights, True, progress, items)
        self.options = options
        return self._report(training, began)

    def _report(self, training: Training, began: float) -> TrainingReport:
        """Learn, and report what was learned in the time since `began`."""
        before = self.vocabulary
        learned = self._learn(training)
        seconds = perf_counter() - began
        log, targets = training.log, learned.targets
        if targets is None:
            targets = int(np.maximum(log.lengths - 1, 0).sum())
        predictions = targets * learned.epochs if learned.predictions is None else learned.predictions
        return TrainingReport(
            sessions=len(log),
            targets=targets,
            steps=learned.steps,
            epochs=learned.epochs,
            items=len(self.vocabulary),
            new_items=sum(item not in before for item in self.vocabulary.ids[1:]),
            seconds=seconds,
            targets_per_second=predictions / max(seconds, 1e-9),
            losses=learned.losses,
            unseen_items=int(np.sum(self.vocabulary.counts[1:] == 0.0)) if training.items else 0,
            mechanism=learned.mechanism,
        )

    @abstractmethod
    def _learn(self, training: Training) -> Learned:
        """Learn from the sessions: from scratch after `_forget`, else from the present state."""

    @abstractmethod
    def _forget(self) -> None:
        """Drop everything that was learned, except the vocabulary, which `fit` drops."""

    def _check_training(self, options: TrainingOptions, *, is_warm: bool) -> None:
        """Make sure that the model can be trained with these options.

        Raises:
            ModelError: a warm start with options that differ in one of `fixed_options`; or options.epsilon,
                but the model or the options cannot be private, or what a warm start continues was not.
        """
        if options.epsilon is not None:
            self._check_private(options, continues=is_warm and self.is_trained)
        if not is_warm or not self.is_trained:
            return
        present = [getattr(self.options, name) for name in self.fixed_options]
        given = [getattr(options, name) for name in self.fixed_options]
        if given != present:
            raise ModelError(
                f"a warm start cannot change {' or '.join(self.fixed_options)}: the model has {present}, "
                f"received {given}; train from scratch instead"
            )

    def _check_private(self, options: TrainingOptions, *, continues: bool) -> None:
        """Make sure that the model can be trained privately with these options."""
        if not self.can_be_private:
            raise ModelError(
                f"the {self.name} model cannot be trained with epsilon = {options.epsilon:g}: it keeps "
                "sessions or shoppers as they are, or has no private training; "
                f"{', '.join(PRIVATE_MODELS)} can"
            )
        if continues and self.options.epsilon is None:
            raise ModelError(
                f"a warm start with epsilon = {options.epsilon:g} cannot continue a model that was not "
                "private: its weights tell of the shoppers of before; train from scratch instead"
            )
        if len(set(options.objectives)) > 1 or options.loss != "softmax" or options.retire_below:
            raise ModelError(
                "a private training weighs all targets alike, by the loss softmax, and retires no items; "
                f"received objective weights {options.objectives}, loss {options.loss!r} and retire_below "
                f"{options.retire_below:g}; leave these options out, or leave out epsilon"
            )

    @abstractmethod
    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score every item: float32 [b, vocabulary.size]; column 0 is -inf.

        Args:
            prefixes: int32 [b, length].
            context: what is known about the sessions beside their items. The model ignores columns that it
                does not use. A missing column counts as unknown.
        """

    def known_by_context(self, context: Context, n: int) -> NDArray[np.bool_]:
        """Tell which of n sessions the model can score by their context alone, without an item.

        Sessions without an item that the model does not know by their context get the popular items.
        """
        return np.zeros(n, bool)

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state as arrays by name, including the optimizer's state."""

    def item_vectors(self) -> NDArray[np.float32] | None:
        """Return the vector that stands for each item in the scores: float32 [vocabulary.size, d].

        None: the model has no such vectors, as models that count and models that blend others.

        Raises:
            ModelError: the model has vectors, but is not trained yet.
        """
        return None

    @abstractmethod
    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over the state that `arrays` returned. The options and the vocabulary are already set."""

    def _count_items(self, training: Training) -> NDArray[np.int32]:
        """Add the log's new items to the vocabulary, and count all items of the log.

        Old counts are multiplied by options.memory. An event counts the weight of its session.

        Returns:
            int32 [n_events], the vocabulary index of each event's item.
        """
        log = training.log
        self.vocabulary = self.vocabulary.grow(log.ids())
        items = self.vocabulary.encode(log.catalogue)[log.items]
        added = np.bincount(items, np.repeat(training.weights, log.lengths), minlength=self.vocabulary.size)
        self.vocabulary = self.vocabulary.with_counts(self.options.memory * self.vocabulary.counts + added)
        return items

    def _untrained_error(self) -> ModelError:
        return ModelError(f"the {self.name} model is not trained yet: call fit or load first")

    def scorer(self) -> SessionScorer:
        """Return what scores without the rest of the model, for export and for ensembles.

        Raises:
            ModelError: the model cannot be served, or is not trained yet.
        """
        raise ModelError(f"a {self.name} model is a baseline and cannot be served")

    def rank(
        self,
        prefixes: NDArray[np.int32],
        targets: NDArray[np.int32],
        k: int,
        context: Context | None = None,
        excluded: NDArray[np.int32] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Rank the targets among all items.

        Items with equal scores rank by index, the lower index first, in the ranks and in the lists.

        Args:
            prefixes: int32 [b, length].
            targets: int32 [b].
            k: the length of the lists.
            context: see `scores`.
            excluded: int32 [b, any], the items that no list of a row has; 0 = none.

        Returns:
            the ranks, int32 [b], from 1, and 0 where the target is 0 or excluded; and the first k items,
            int32 [b, k], 0 after the last item.

        Raises:
            ModelError: the scores are not numbers.
        """
        scores = self.scores(prefixes, context)
        if np.isnan(scores).any():  # no score is above NaN, so every target would rank first
            raise ModelError(f"the {self.name} model scores items as NaN: its training diverged")
        rows = np.arange(len(scores))
        if excluded is not None:
            scores[rows[:, None], excluded] = -np.inf
            targets = np.where(np.isfinite(scores[rows, targets]), targets, 0)
        best = top_k(scores, min(k, scores.shape[1] - 1))
        best = np.where(np.isfinite(scores[rows[:, None], best]), best, 0)
        return target_ranks(scores, targets), np.pad(best, ((0, 0), (0, k - best.shape[1])))

    def recommend(
        self,
        sessions: Sequence[Sequence[str]],
        k: int = 20,
        exclude_seen: bool = False,
        exclude: Sequence[Sequence[str]] | None = None,
    ) -> tuple[list[list[str]], list[list[float]]]:
        """Return the k best items of each session, as ids and scores, best first.

        Unknown ids are ignored. A session without a known item gets the popular items, scored by their share
        of all counts.

        Args:
            sessions: item ids, oldest first.
            k: the largest number of items.
            exclude_seen: leave out the session's own items.
            exclude: for each session the ids that its list leaves out, e.g. the items in its cart.
        """
        ids: list[list[str]] = []
        values: list[list[float]] = []
        exclusions = [()] * len(sessions) if exclude is None else exclude
        for session, excluded in zip(sessions, exclusions, strict=True):
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
            scores[self.vocabulary.encode(excluded)] = -np.inf
            top = top_k(scores[None, :], min(k, len(self.vocabulary)))[0]
            top = top[np.isfinite(scores[top])]
            ids.append([str(item) for item in self.vocabulary.decode(top)])
            values.append([float(score) for score in scores[top]])
        return ids, values

    def save(self, directory: Path) -> None:
        """Write the model into the folder. A save that was killed is never read as a whole model."""
        write_description(directory, self.name, self.options.to_dict())
        self.write(directory)
        write_manifest(directory)

    def write(self, directory: Path) -> None:
        """Write vocabulary.json and state.npz (plain arrays, no pickle) into the folder."""
        self.vocabulary.save(directory / VOCABULARY)
        np.savez(directory / STATE, **self.arrays())  # type: ignore[arg-type]

    def read(self, directory: Path) -> None:
        """Take over the vocabulary and the state that `write` wrote. The options are already set."""
        self.vocabulary = read_vocabulary(directory / VOCABULARY)
        arrays = read_arrays(directory / STATE)
        check_rows(arrays, self.rows_by_item, self.item_indices, self.vocabulary.size, directory / STATE)
        try:
            self.restore(arrays)
        except Exception as error:
            raise DamagedModelError(
                f"{directory / STATE} does not hold the state of a {self.name} model: "
                f"{type(error).__name__}: {error}"
            ) from error
