"""The ensemble: a weighted sum of models. The weights are learned on sessions that no member has seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.blend.blending import CandidateScores, learned_weights
from models.by_name import create, load
from models.data.features import Features
from models.data.sequences import Context, Examples, SessionLog, next_item_examples
from models.options import OBJECTIVE_WEIGHTS, Learned, Progress, Training, TrainingOptions, TrainingReport
from models.recommender import Recommender
from models.scorer import SessionScorer
from models.stored import DamagedModelError, ModelError
from models.tensorflow_import import tf
from models.top_k import top_k

VALIDATION_SHARE = 0.1  # the share of the sessions, the latest ones, on which the weights are learned
CANDIDATES = 50  # the best items of each member, among which the weights must find the target
MAX_EXAMPLES = 10_000  # on which the weights are learned; enough, since there are few weights
MIN_EXAMPLES = 100  # with fewer examples the weights stay, because chance would decide them
SCORES_AT_ONCE = 1 << 22
EQUAL_OBJECTIVES = dict.fromkeys(OBJECTIVE_WEIGHTS, 1.0)
MIN_SHARE = 1e-4  # is added to every share, so that a share of 0 has a logarithm


class EnsembleScorer(SessionScorer):
    """Blends the scores of several scorers. This module is exported.

    Each member gets the items and the names that it knows; a member may know fewer than the others.

    Attributes:
        max_length: how many of a session's last items it reads.
    """

    def __init__(self, members: Sequence[Recommender], weights: NDArray[np.float32], max_length: int) -> None:
        super().__init__(max_length)
        self._scorers = [member.scorer() for member in members]
        self._sizes = [member.vocabulary.size for member in members]
        self._scores_are = [member.scores_are for member in members]
        self.session_features = Features.merged([scorer.session_features for scorer in self._scorers])
        self.event_features = Features.merged([scorer.event_features for scorer in self._scorers])
        self.takes_several = all(scorer.takes_several for scorer in self._scorers)
        self._weights = tf.Variable(weights, trainable=False)

    def compute(self, prefixes: tf.Tensor, **inputs: tf.Tensor) -> tf.Tensor:
        """Score every item; see `SessionScorer`."""
        scores = []
        for scorer, size in zip(self._scorers, self._sizes, strict=True):
            own = scorer.session_features.translated(inputs, self.session_features)
            own |= scorer.event_features.translated(inputs, self.event_features)
            scores.append(scorer.compute(tf.where(prefixes < size, prefixes, 0), **own))
        return self.blend(scores)

    def blend(self, scores: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return the weighted sum of the members' log-scores, [b, size]."""
        values = log_scores(scores, self._scores_are)
        return tf.add_n([self._weights[place] * value for place, value in enumerate(values)])


def log_scores(scores: Sequence[tf.Tensor], scores_are: Sequence[str]) -> list[tf.Tensor]:
    """Return the members' scores on one scale, that of a log-probability, each [b, size].

    A member may know only the first items of the others. The items that it does not know get its lowest
    log-score.

    Args:
        scores: float32 [b, a member's size]; column 0 is padding, and stays padding.
        scores_are: see `Recommender.scores_are`.
    """
    size = tf.reduce_max([tf.shape(member_scores)[1] for member_scores in scores])
    logs = []
    for member_scores, kind in zip(scores, scores_are, strict=True):
        if kind == "logits":
            values = tf.nn.log_softmax(member_scores[:, 1:])
        elif kind == "shares":
            values = tf.math.log(tf.maximum(member_scores[:, 1:], 0.0) + MIN_SHARE)
        else:
            values = tf.math.log1p(tf.maximum(member_scores[:, 1:], 0.0))
        lowest = tf.reduce_min(values, 1, keepdims=True)
        values = tf.concat([values, tf.repeat(lowest, size - 1 - tf.shape(values)[1], axis=1)], 1)
        logs.append(tf.pad(values, ((0, 0), (1, 0)), constant_values=np.float32(-1e9)))
    return logs


class Ensemble(Recommender):
    """A blend of the models that options.members names, or of given models, such as versions of one model.

    An item's score is the weighted sum of the members' log-scores; see `log_scores`. The weights are those
    under which the targets of a log are most likely. The members have not seen this log yet; then they are
    trained on it. A training from scratch first trains the members without the latest sessions, learns the
    weights on these sessions, and then trains the members anew on all sessions. This takes twice the time.
    To continue the training of the first members through the latest sessions instead cost one point of
    hit_rate@20 on yoochoose64.
    """

    name = "ensemble"
    weighs_targets = True  # of its members, only some may weigh targets
    fixed_options = ("members",)

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self._members: dict[str, Recommender] = {}
        self._weights = np.zeros(0, np.float32)
        self._scorer: EnsembleScorer | None = None

    @classmethod
    def of(cls, members: Mapping[str, Recommender], log: SessionLog) -> Self:
        """Blend trained models, with weights learned on a log that the models have not seen.

        Args:
            members: the models by name. The items of a smaller vocabulary must be the first items of a larger
                one, in the same order, as in versions of one model.
            log: the sessions.

        Raises:
            ModelError: no members, or vocabularies that number their items differently.
        """
        if not members:
            raise ModelError("an ensemble needs at least one member")
        largest = max(members.values(), key=lambda member: len(member.vocabulary))
        for name, member in members.items():
            if list(member.vocabulary.ids) != list(largest.vocabulary.ids[: member.vocabulary.size]):
                raise ModelError(f"the member {name} numbers its items in another way than {largest.name}")
        ensemble = cls(largest.options.but(members="+".join(members)))
        ensemble._members, ensemble.vocabulary = dict(members), largest.vocabulary
        ensemble._learn_weights(log)
        return ensemble

    @property
    def weights(self) -> dict[str, float]:
        """Return each member's weight."""
        return dict(zip(self._members, map(float, self._weights), strict=True))

    @property
    def is_trained(self) -> bool:
        """Tell whether the ensemble has members."""
        return bool(self._members)

    def _check_training(self, options: TrainingOptions, *, is_warm: bool) -> None:
        """Make sure that members, and their vocabularies, allow this training; see `Recommender`."""
        super()._check_training(options, is_warm=is_warm)
        sizes = {name: len(member.vocabulary) for name, member in self._members.items()}
        if is_warm and len(set(sizes.values())) > 1:
            # The members are versions of one model, or a hybrid, which also knows unsold catalogue items.
            raise ModelError(
                f"an ensemble whose members know different numbers of items ({sizes}) has no warm start: "
                "train it anew"
            )

    def _forget(self) -> None:
        self._members, self._scorer = {}, None

    def _learn(self, training: Training) -> Learned:
        """Learn the weights on sessions that the members have not seen, and train the members."""
        log = training.log
        if self.is_trained:
            self._learn_weights(log)
            return _sum_of(self._train(log, training.weights, training.progress, is_warm=True))
        names = self.options.members.split("+")
        self._members = {name: create(name) for name in names}
        self._weights = np.full(len(names), 1.0 / len(names), np.float32)
        cut = len(log) - round(VALIDATION_SHARE * len(log))
        first_part = cut / (cut + max(1, len(log)))
        progress = _part(training.progress, 0.0, first_part)
        reports = self._train(log.select(slice(cut)), training.weights[:cut], progress)
        self._learn_weights(log.select(slice(cut, None)))
        reports += self._train(log, training.weights, _part(training.progress, first_part, 1.0))
        return _sum_of(reports)

    def _train(
        self, log: SessionLog, weights: NDArray[np.float32], progress: Progress | None, is_warm: bool = False
    ) -> list[TrainingReport]:
        """Train every member, from scratch or by a warm start."""
        reports = []
        for place, (name, member) in enumerate(self._members.items()):
            part = _part(progress, place / len(self._members), (place + 1) / len(self._members), name)
            train = member.warm_start if is_warm else member.fit
            options = self.options if member.weighs_targets else self.options.but(**EQUAL_OBJECTIVES)
            options = options.but(retire_below=0.0)  # members must number their items alike
            reports.append(train(log, weights, options, part))
        self.vocabulary = max((member.vocabulary for member in self._members.values()), key=len)
        self._scorer = None
        return reports

    def _learn_weights(self, log: SessionLog) -> None:
        """Learn the weights under which the targets of a log are most likely."""
        if not len(self._weights):
            self._weights = np.full(len(self._members), 1.0 / len(self._members), np.float32)
        examples = next_item_examples(log)
        generator = np.random.default_rng(self.options.seed)
        chosen = generator.permutation(len(examples))[:MAX_EXAMPLES]
        candidates = self._candidate_scores(examples.select(np.sort(chosen)))
        if len(candidates.target) >= MIN_EXAMPLES:
            self._weights = learned_weights(candidates, self._weights)
        self._scorer = None

    def _candidate_scores(self, examples: Examples) -> CandidateScores:
        """Return each member's scores of the best items of all members, where the target is among them."""
        encoded = examples.encode(self.vocabulary)
        usable = np.flatnonzero((encoded.end > encoded.start) & (encoded.targets > 0))
        members = list(self._members.values())
        kinds = [member.scores_are for member in members]
        parts = []
        chunk = max(1, SCORES_AT_ONCE // (self.vocabulary.size * len(members)))
        for at in range(0, len(usable), chunk):
            rows = usable[at : at + chunk]
            prefixes = encoded.prefixes(rows, self.options.max_length)
            context = encoded.context(rows, self.options.max_length)
            scores = [member.scores(_known(prefixes, member), context) for member in members]
            logs = np.stack([values.numpy() for values in log_scores(scores, kinds)], -1)
            k = min(CANDIDATES, self.vocabulary.size - 1)
            top = np.concatenate([top_k(logs[:, :, place], k) for place in range(len(members))], 1)
            parts.append(CandidateScores.of(logs, top, encoded.targets[rows]))
        return CandidateScores.concat(parts, len(members))

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score each item by the weighted sum of the members' log-scores."""
        scorer = self.scorer()
        scores = np.empty((len(prefixes), self.vocabulary.size), np.float32)
        chunk = max(1, SCORES_AT_ONCE // self.vocabulary.size)  # all members' scores are in memory at once
        for at in range(0, len(prefixes), chunk):
            rows = slice(at, at + chunk)
            member_scores = [
                member.scores(_known(prefixes[rows], member), context and context.rows(rows))
                for member in self._members.values()
            ]
            scores[rows] = scorer.blend(member_scores)
        scores[:, 0] = -np.inf
        return scores

    def scorer(self) -> EnsembleScorer:
        """Return the scorer: the members' scorers and their weights."""
        if not self._members:
            raise self._untrained_error()
        if self._scorer is None:
            members = list(self._members.values())
            self._scorer = EnsembleScorer(members, self._weights, self.options.max_length)
        return self._scorer

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the members' weights; `save` writes the members into folders."""
        return {"weights": self._weights}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over the members' weights."""
        self._weights = arrays["weights"].astype(np.float32)
        self._scorer = None

    def write(self, directory: Path) -> None:
        """Write the files of every model, and each member into its own folder."""
        super().write(directory)
        (directory / "members.json").write_text(json.dumps(list(self._members)), encoding="utf-8")
        for place, member in enumerate(self._members.values()):
            member.save(directory / f"member-{place}")

    def read(self, directory: Path) -> None:
        """Take over what `save` wrote."""
        super().read(directory)
        try:
            names = list(json.loads((directory / "members.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise DamagedModelError(f"{directory / 'members.json'} cannot be read: {error}") from error
        self._members = {name: load(directory / f"member-{place}") for place, name in enumerate(names)}


def _known(prefixes: NDArray[np.int32], member: Recommender) -> NDArray[np.int32]:
    """Return the prefixes without the items that a member does not know."""
    return np.where(prefixes < member.vocabulary.size, prefixes, 0).astype(np.int32)


def _part(progress: Progress | None, low: float, high: float, name: str = "") -> Progress | None:
    """Return a progress for a part of the work, from `low` to `high`."""
    if progress is None:
        return None
    whole = progress
    return lambda done, work: whole(low + (high - low) * done, f"{name}: {work}" if name else work)


def _sum_of(reports: Sequence[TrainingReport]) -> Learned:
    """Return what all members' trainings did together; their predictions are added."""
    return Learned(
        epochs=max(report.epochs for report in reports),
        steps=sum(report.steps for report in reports),
        predictions=sum(report.targets * report.epochs for report in reports),
    )
