"""What all trainings share: the options, what a training reads and returns, its report, and its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.items import ItemTable
from models.data.sequences import SessionLog, decay_weights
from models.private.mechanism import Mechanism

Progress = Callable[[float, str], None]
"""Called as progress(share of the work that is done, from 0 to 1; the current work in words)."""

SHAPE = ("embedding_size", "max_length", "layers")
"""Hyperparameters that decide the shape of a sequence model's weights. A warm start cannot change them."""

LOSS_NAMES = ("softmax", "bpr_max")

OBJECTIVE_WEIGHTS = ("objective_view", "objective_cart", "objective_purchase")

_TYPE_NAMES = {
    "int": "whole number",
    "float": "number",
    "float | None": "number or null",
    "str": "text",
}


class OptionsError(ValueError):
    """A hyperparameter that does not exist, or a value that it cannot have."""

    exit_code = 2


@dataclass(frozen=True)
class Bounds:
    """The values that a number can have.

    Attributes:
        low: the lower end.
        high: the upper end.
        above: whether the lower end itself is left out.
        below: whether the upper end itself is left out.
    """

    low: float
    high: float
    above: bool = False
    below: bool = False

    def hold(self, value: float) -> bool:
        """Tell whether a number lies within the bounds."""
        return (self.low < value if self.above else self.low <= value) and (
            value < self.high if self.below else value <= self.high
        )

    def __str__(self) -> str:
        """Name the bounds, like: at least 1 and at most 4,096."""
        least, most = "more than" if self.above else "at least", "less than" if self.below else "at most"
        return f"{least} {self.low:,} and {most} {self.high:,}"


# The upper bounds of sizes keep a mistyped number from taking all memory, or from training for weeks.
BOUNDS: Mapping[str, Bounds] = {
    "embedding_size": Bounds(1, 4096),
    "epochs": Bounds(0, 1000),
    "warm_epochs": Bounds(0, 1000),
    "batch_size": Bounds(1, 1_000_000),
    "learning_rate": Bounds(0, 10, above=True),
    "warm_learning_rate": Bounds(0, 10, above=True),
    "warm_negatives": Bounds(1, 1_000_000),
    "averaging": Bounds(0, 1, below=True),
    "trust_region": Bounds(0, 1000, above=True),
    "retire_below": Bounds(0, 1_000_000_000),
    "dropout": Bounds(0, 1, below=True),
    "temperature": Bounds(0.02, 1000),
    "negatives": Bounds(1, 1_000_000),
    "alpha": Bounds(0, 10),
    "layers": Bounds(1, 64),
    "half_life": Bounds(0, 1_000_000, above=True),
    "max_length": Bounds(1, 10_000),
    "memory": Bounds(0, 1),
    "neighbours": Bounds(1, 10_000_000),
    "sample": Bounds(1, 10_000_000),
    "regularization": Bounds(0, 1_000_000_000, above=True),
    "confidence": Bounds(0, 1_000_000_000, above=True),
    **dict.fromkeys(OBJECTIVE_WEIGHTS, Bounds(0, 1_000_000)),
    "users": Bounds(0, 10_000_000),
    "epsilon": Bounds(0, 1000, above=True),
    "delta": Bounds(0, 0.01, above=True),
    "clip": Bounds(0, 1_000_000, above=True),
    "private_batch": Bounds(1, 10_000_000),
    "private_steps": Bounds(1, 1_000_000),
    "private_learning_rate": Bounds(0, 10, above=True),
    "seed": Bounds(0, 2**32, below=True),  # what NumPy and TensorFlow take
}
"""The values that each number can have; a number whose type allows None can also be None."""


@dataclass(frozen=True)
class TrainingOptions:
    """The hyperparameters. Every shop starts from the same defaults. A number outside its bounds is refused.

    Attributes:
        embedding_size: the width of the item embeddings and of the session encoder.
        epochs: passes over the sessions in a training from scratch.
        warm_epochs: passes over the sessions in a warm start.
        batch_size: about the largest number of targets in a batch. A log with few sessions is cut into
            more, smaller batches. The sessions of a batch have nearly the same length.
        learning_rate: the highest learning rate of Adam. The rate then falls along a cosine to 1 % of it.
        warm_learning_rate: the highest learning rate of a warm start.
        warm_negatives: for sequence models, at most how many items are sampled for each batch of a warm
            start. A small catalogue needs fewer.
        averaging: for sequence models, the share of a warm start's steps, at its end, whose weights are
            averaged. 0 keeps the weights of the last step. See models.layers.warm_start.WeightAverage.
        trust_region: for sequence models, how far a warm start may move a known item on the unit sphere on
            which the item is scored. For a given state, the score of the item then changes by at most
            trust_region / temperature. None sets no limit. New items have no limit.
        retire_below: for sequence models, a warm start drops the items that its log does not contain and
            whose count, decayed by `memory` at each warm start, is below this. 0 keeps all items.
        dropout: the share of values that training sets to 0, in the encoder and in the item embeddings.
        temperature: cosines are divided by it before the softmax. At least 0.02.
        negatives: how many items are sampled by popularity ** alpha for each batch.
        alpha: 0 samples all items alike, 1 samples them by popularity.
        loss: for sequence models, one of LOSS_NAMES: cross-entropy (softmax) or BPR-max (bpr_max).
        layers: the number of recurrent layers of gru and of blocks of transformer.
        half_life: the share of the sessions, counted from the latest one, after which a session weighs one
            half. With None all sessions weigh the same. It is used only where the caller gives no weights;
            the neighbours model also ages its sessions by it where the caller gives weights.
        max_length: how many of a session's last items are read.
        memory: the share of the old counts (popularity, co-occurrence) that a warm start keeps.
        neighbours: how many sessions the neighbours model takes items from.
        sample: among how many of the newest sessions that share an item with the current session the
            neighbours are chosen.
        regularization: for factorization, the weight of the squared factors in the loss.
        confidence: for factorization, how many times more an observed item weighs than an unobserved one.
        members: for ensemble, the names of its models, joined by +.
        objective_view: the weight of a target that its session neither adds to the cart nor buys. If the log
            has no such columns, all targets weigh the same. Only the ratio of the three weights matters.
        objective_cart: the weight of a target that its session adds to the cart, at this event or later. The
            weights 0, 1, 1 train for the next addition to the cart; 1, 1, 1 train for the next item.
        objective_purchase: the weight of a target that its session buys, at this event or later, with or
            without an addition to the cart.
        users: for hybrid, the largest number of users that have an embedding: the users with the most
            sessions, each with at least two. For factorization and ncf, the largest number of users that the
            packed model knows: the users whose answers differ most from those of unknown users.
        epsilon: what a training may spend of the privacy of each shopper (differential privacy): with a
            smaller epsilon the model tells less about any shopper, and recommends less well. None trains
            without privacy. A warm start spends epsilon again.
        delta: with epsilon, the probability that is allowed for the bound of one training to fail; far below
            one divided by the number of shoppers. The deltas of the names of items add up over the trainings
            of a year. So the default is a thousandth of 1e-6, the usual delta of a year.
        clip: with epsilon, for sequence models, the largest length of the gradient of one shopper.
        private_batch: with epsilon, for sequence models, the expected number of shoppers in a step.
        private_steps: with epsilon, for sequence models, the number of steps. More steps need more noise.
        private_learning_rate: with epsilon, for sequence models, the highest learning rate.
        seed: decides the initial weights, the order of batches and the negatives. The noise of a private
            training, and the choice of its shoppers, never follow from it.
    """

    embedding_size: int = 128
    epochs: int = 6
    warm_epochs: int = 2
    batch_size: int = 512
    learning_rate: float = 0.002
    warm_learning_rate: float = 0.006
    warm_negatives: int = 2048
    averaging: float = 0.0
    trust_region: float | None = None
    retire_below: float = 0.0
    dropout: float = 0.2
    temperature: float = 0.07
    negatives: int = 2048
    alpha: float = 1.0
    loss: str = "softmax"
    layers: int = 1
    half_life: float | None = 0.25
    max_length: int = 30
    memory: float = 0.5
    neighbours: int = 500
    sample: int = 2500
    regularization: float = 0.4
    confidence: float = 100.0
    members: str = "attention+gru+neighbours+cooccurrence"
    objective_view: float = 1.0
    objective_cart: float = 1.0
    objective_purchase: float = 1.0
    users: int = 20_000
    epsilon: float | None = None
    delta: float = 1e-9
    clip: float = 1.0
    private_batch: int = 4096
    private_steps: int = 200
    private_learning_rate: float = 0.01
    seed: int = 7

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), str(field.type)
            if not _has_type(value, kind):
                raise OptionsError(f"{field.name} cannot be {value!r}: it is a {_TYPE_NAMES[kind]}")
        for name, bounds in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not bounds.hold(value):
                raise OptionsError(f"{name} cannot be {value!r}: it is {bounds}")
        if self.loss not in LOSS_NAMES:
            raise OptionsError(f"loss cannot be {self.loss!r}: it is one of {', '.join(LOSS_NAMES)}")
        if not all(self.members.split("+")):
            raise OptionsError(f"members cannot be {self.members!r}: it is names joined by +")
        if not any(self.objectives):
            raise OptionsError(f"{', '.join(OBJECTIVE_WEIGHTS)} cannot all be 0: nothing would be learned")

    @property
    def objectives(self) -> tuple[float, ...]:
        """The weights of the objectives, in the order of OBJECTIVE_WEIGHTS."""
        return tuple(getattr(self, name) for name in OBJECTIVE_WEIGHTS)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingOptions:
        """Build options from a mapping, for example from a command line or from a saved model.

        Raises:
            OptionsError: a name that is not a hyperparameter; the message lists all hyperparameters.
        """
        names = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise OptionsError(f"no such hyperparameter: {', '.join(unknown)}; there are {', '.join(names)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as a JSON-serialisable dict."""
        return asdict(self)

    def but(self, **changes: Any) -> TrainingOptions:
        """Return the options with these changes."""
        return replace(self, **changes)


def _has_type(value: object, annotation: str) -> bool:
    """Tell whether a value has the type of a hyperparameter's annotation; true and false are no numbers."""
    if value is None:
        return annotation.endswith("None")
    if annotation == "str":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return isfinite(value) and (annotation != "int" or isinstance(value, int | np.integer))


@dataclass(frozen=True)
class Training:
    """One training, as a model's `_learn` receives it.

    Attributes:
        log: the sessions.
        weights: float32 [n_sessions], given by the caller or computed from options.half_life.
        given_weights: float32 [n_sessions], as the caller gave them, or None.
        is_warm: whether the model continues from its present state.
        progress: is told about the progress from time to time.
        items: what the catalogue says of the items; None = there is no catalogue. Only hybrid reads what
            it says; a private training reads the ids, which are public.
    """

    log: SessionLog
    weights: NDArray[np.float32]
    given_weights: NDArray[np.float32] | None = None
    is_warm: bool = False
    progress: Progress | None = None
    items: ItemTable | None = None


@dataclass(frozen=True)
class Learned:
    """What a model's `_learn` did, for the report.

    Attributes:
        epochs: passes over the sessions.
        steps: optimizer steps.
        losses: the mean loss of each epoch.
        targets: the predictions that one epoch trains; None = every event but the first of each session.
        predictions: the predictions that all epochs train; None = targets times epochs.
        mechanism: what a private training released; None = the training was not private.
    """

    epochs: int = 1
    steps: int = 1
    losses: tuple[float, ...] = ()
    targets: int | None = None
    predictions: int | None = None
    mechanism: Mechanism | None = None


@dataclass(frozen=True)
class TrainingReport:
    """What one training did.

    Attributes:
        sessions: the number of sessions read.
        targets: the predictions that one epoch trains.
        steps: optimizer steps.
        epochs: passes over the sessions.
        items: the number of items in the vocabulary after the training.
        new_items: how many of them this training added.
        unseen_items: how many of them no training has seen in an event; the catalogue describes them.
        seconds: wall-clock time.
        targets_per_second: targets times epochs, divided by seconds.
        losses: the mean loss of each epoch; none of a private training, since they have no noise.
        mechanism: what a private training released, from which epsilon follows; None = it was not private.
    """

    sessions: int
    targets: int
    steps: int
    epochs: int
    items: int
    new_items: int
    seconds: float
    targets_per_second: float
    losses: tuple[float, ...] = ()
    unseen_items: int = 0
    mechanism: Mechanism | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON-serialisable dict."""
        return {**asdict(self), "mechanism": self.mechanism and self.mechanism.to_dict()}


def session_weights(
    log: SessionLog, weights: NDArray[np.float32] | None, options: TrainingOptions
) -> NDArray[np.float32]:
    """Return the given weights, or else weights by options.half_life and the order of the sessions.

    Raises:
        ValueError: weights that are not one finite, non-negative number per session.
    """
    if weights is None:
        half_life = options.half_life and options.half_life * max(1, len(log))
        return decay_weights(np.arange(len(log), dtype=np.float64), None, half_life)
    if weights.shape != (len(log),) or not np.all(np.isfinite(weights)) or np.any(weights < 0):
        raise ValueError(
            f"weights should be one finite number ≥ 0 for each of {len(log)} sessions; "
            f"received shape {weights.shape}"
        )
    return weights.astype(np.float32)
