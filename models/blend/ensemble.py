"""The ensemble: models blended by weights that are learned on sessions none of them has seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.blend.blending import Evidence, learned_weights
from models.data.sequences import Context, Examples, SessionLog, next_item_examples
from models.options import OBJECTIVE_WEIGHTS, Progress, TrainingOptions, TrainingReport, session_weights
from models.recommender import ModelError, Recommender, best, create, load

TAIL = 0.1  # share of the sessions, the latest, that the weights are learned on
CANDIDATES = 50  # of each member, among which a target has to be told from the rest
EXAMPLES = 10_000  # that weights are learned on, at most: they are a handful
FEWEST = 100  # examples that change the weights; below, chance would
SCORES_AT_ONCE = 1 << 22
EVERY_TARGET_ALIKE = dict.fromkeys(OBJECTIVE_WEIGHTS, 1.0)
SHARE_FLOOR = 1e-4  # what an item without a share is taken to have


class EnsembleScorer(tf.Module):
    """Blends what scorers say of every item; what is exported.

    Attributes:
        max_length: the last items of a session that it reads.
    """

    def __init__(self, members: Sequence[Recommender], weights: NDArray[np.float32], max_length: int) -> None:
        super().__init__()
        self.max_length = tf.Variable(max_length, trainable=False)
        self._scorers = [member.scorer() for member in members]
        self._scores_are = [member.scores_are for member in members]
        self._weights = tf.Variable(weights, trainable=False)

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32, name="prefixes")])
    def score(self, prefixes: tf.Tensor) -> tf.Tensor:
        """Score every item: int32 [b, length], left-padded with 0, to float32 [b, size]."""
        return self.blend([scorer.score(prefixes) for scorer in self._scorers])

    def blend(self, scores: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return the weighted sum of what each member's scores say, [b, size]."""
        said = evidence(scores, self._scores_are)
        return tf.add_n([self._weights[place] * one for place, one in enumerate(said)])


def evidence(scores: Sequence[tf.Tensor], scores_are: Sequence[str]) -> list[tf.Tensor]:
    """Return what members' scores say on one scale, that of a log-probability, each [b, size].

    Members that know fewer items, the first of the others', say of those what they say of the least likely.

    Args:
        scores: float32 [b, a member's size]; column 0 is padding and comes back as such.
        scores_are: see `Recommender.scores_are`.
    """
    size = tf.reduce_max([tf.shape(one)[1] for one in scores])
    said = []
    for one, kind in zip(scores, scores_are, strict=True):
        if kind == "logits":
            values = tf.nn.log_softmax(one[:, 1:])
        elif kind == "shares":
            values = tf.math.log(tf.maximum(one[:, 1:], 0.0) + SHARE_FLOOR)
        else:
            values = tf.math.log1p(tf.maximum(one[:, 1:], 0.0))
        least = tf.reduce_min(values, 1, keepdims=True)
        values = tf.concat([values, tf.repeat(least, size - 1 - tf.shape(values)[1], axis=1)], 1)
        said.append(tf.pad(values, ((0, 0), (1, 0)), constant_values=np.float32(-1e9)))
    return said


class Ensemble(Recommender):
    """The members that options.members names, or models made elsewhere, such as a model's latest versions.

    An item's score is the weighted sum of what the members say of it; see `evidence`. Each log is a test
    first and training then: the weights are those that make the targets of its sessions likeliest, by members
    that have not seen them yet. To train from scratch, the weights are learned on the latest sessions by
    members trained on the others, which are then trained anew on all: twice the time, but to train them on
    through the latest cost a point of hit_rate@20 on yoochoose64.
    """

    name = "ensemble"
    weighs_targets = True  # as far as its members do

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self._members: dict[str, Recommender] = {}
        self._weights = np.zeros(0, np.float32)
        self._scorer: EnsembleScorer | None = None

    @classmethod
    def of(cls, members: Mapping[str, Recommender], log: SessionLog) -> Self:
        """Blend trained models by the weights that suit a log which they have not seen.

        Args:
            members: by a name for each; what some know must be the first of what the others know, as it is
                for versions of one model.
            log: sessions.

        Raises:
            ModelError: no members, or vocabularies that number their items in other ways.
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

    def fit(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Learn the weights with members for the purpose, then train the members; see `Recommender.fit`."""
        began = perf_counter()
        self.options = options or self.options
        weights = session_weights(log, weights, self.options)
        names = self.options.members.split("+")
        self._weights = np.full(len(names), 1.0 / len(names), np.float32)
        cut = len(log) - round(TAIL * len(log))
        half = cut / (cut + max(1, len(log)))
        self._members = {name: create(name) for name in names}
        pilot = self._train(log.select(slice(cut)), weights[:cut], _part(progress, 0.0, half))
        self._learn_weights(log.select(slice(cut, None)))
        reports = self._train(log, weights, _part(progress, half, 1.0))
        return _joined(log, [*pilot, *reports], len(self.vocabulary), perf_counter() - began)

    def warm_start(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Learn the weights anew on the log, then train every member on; see `Recommender.warm_start`."""
        if not self._members:
            return self.fit(log, weights, options, progress)
        began, before = perf_counter(), len(self.vocabulary)
        options = options or self.options
        self._refuse_change(options, ["members"])
        self.options = options
        known = {name: len(member.vocabulary) for name, member in self._members.items()}
        if len(set(known.values())) > 1:
            # Versions of one model, or a hybrid beside others, which knows the catalogue's unsold items too.
            raise ModelError(
                f"an ensemble whose members know different items ({known}) does not train on: train it anew"
            )
        self._learn_weights(log)
        reports = self._train(log, session_weights(log, weights, options), progress, warm=True)
        return _joined(log, reports, len(self.vocabulary) - before, perf_counter() - began)

    def _train(
        self, log: SessionLog, weights: NDArray[np.float32], progress: Progress | None, warm: bool = False
    ) -> list[TrainingReport]:
        """Train every member, from scratch or on."""
        reports = []
        for place, (name, member) in enumerate(self._members.items()):
            part = _part(progress, place / len(self._members), (place + 1) / len(self._members), name)
            train = member.warm_start if warm else member.fit
            options = self.options if member.weighs_targets else self.options.but(**EVERY_TARGET_ALIKE)
            options = options.but(retire_below=0.0)  # members number their items alike
            reports.append(train(log, weights, options, part))
        self.vocabulary = max((member.vocabulary for member in self._members.values()), key=len)
        self._scorer = None
        return reports

    def _learn_weights(self, log: SessionLog) -> None:
        """Take the weights under which the members make the targets of a log likeliest."""
        if not len(self._weights):
            self._weights = np.full(len(self._members), 1.0 / len(self._members), np.float32)
        examples = next_item_examples(log)
        generator = np.random.default_rng(self.options.seed)
        chosen = generator.permutation(len(examples))[:EXAMPLES]
        seen = self._evidence(examples.select(np.sort(chosen)))
        if len(seen.target) >= FEWEST:
            self._weights = learned_weights(seen, self._weights)
        self._scorer = None

    def _evidence(self, examples: Examples) -> Evidence:
        """Return what each member says of the best items of all members, for targets that are among them."""
        encoded = examples.encode(self.vocabulary)
        usable = np.flatnonzero((encoded.end > encoded.start) & (encoded.targets > 0))
        members = list(self._members.values())
        kinds = [member.scores_are for member in members]
        found = []
        chunk = max(1, SCORES_AT_ONCE // (self.vocabulary.size * len(members)))
        for at in range(0, len(usable), chunk):
            rows = usable[at : at + chunk]
            prefixes = encoded.prefixes(rows, self.options.max_length)
            context = encoded.context(rows, self.options.max_length)
            scores = [member.scores(_known(prefixes, member), context) for member in members]
            said = np.stack([one.numpy() for one in evidence(scores, kinds)], -1)
            k = min(CANDIDATES, self.vocabulary.size - 1)
            top = np.concatenate([best(said[:, :, place], k) for place in range(len(members))], 1)
            found.append(Evidence.of(said, top, encoded.targets[rows]))
        return Evidence.concat(found, len(members))

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score each item by the weighted sum of what the members say."""
        scorer = self.scorer()
        scores = np.empty((len(prefixes), self.vocabulary.size), np.float32)
        chunk = max(1, SCORES_AT_ONCE // self.vocabulary.size)  # each member's scores lie in memory at once
        for at in range(0, len(prefixes), chunk):
            rows = slice(at, at + chunk)
            said = [
                member.scores(_known(prefixes[rows], member), context and context.rows(rows))
                for member in self._members.values()
            ]
            scores[rows] = scorer.blend(said)
        scores[:, 0] = -np.inf
        return scores

    def scorer(self) -> EnsembleScorer:
        """Return the scorer: those of the members, and their weights."""
        if not self._members:
            raise ModelError("the ensemble model is not trained yet: call fit or load first")
        if self._scorer is None:
            members = list(self._members.values())
            self._scorer = EnsembleScorer(members, self._weights, self.options.max_length)
        return self._scorer

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the members' weights; `save` writes the members beside them."""
        return {"weights": self._weights}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over the members' weights."""
        self._weights = arrays["weights"].astype(np.float32)
        self._scorer = None

    def save(self, directory: Path) -> None:
        """Write as every model does, and each member into a folder of its own."""
        super().save(directory)
        (directory / "members.json").write_text(json.dumps(list(self._members)), encoding="utf-8")
        for place, member in enumerate(self._members.values()):
            member.save(directory / f"member-{place}")

    def read(self, directory: Path) -> None:
        """Take over what `save` wrote."""
        super().read(directory)
        names = json.loads((directory / "members.json").read_text(encoding="utf-8"))
        self._members = {name: load(directory / f"member-{place}") for place, name in enumerate(names)}


def _known(prefixes: NDArray[np.int32], member: Recommender) -> NDArray[np.int32]:
    """Return prefixes without the items that an older version does not know."""
    return np.where(prefixes < member.vocabulary.size, prefixes, 0).astype(np.int32)


def _part(progress: Progress | None, low: float, high: float, name: str = "") -> Progress | None:
    """Return a progress that tells of a part of the work, from `low` to `high`."""
    if progress is None:
        return None
    tell = progress
    return lambda done, what: tell(low + (high - low) * done, f"{name}: {what}" if name else what)


def _joined(
    log: SessionLog, reports: Sequence[TrainingReport], new_items: int, seconds: float
) -> TrainingReport:
    """Return one report of all members' trainings; an epoch's targets are those of all members."""
    targets = sum(report.targets * report.epochs for report in reports)
    return TrainingReport(
        sessions=len(log),
        targets=int(np.maximum(log.lengths - 1, 0).sum()),
        steps=sum(report.steps for report in reports),
        epochs=max(report.epochs for report in reports),
        items=max(report.items for report in reports),
        new_items=new_items,
        seconds=seconds,
        targets_per_second=targets / max(seconds, 1e-9),
    )
