"""What every training shares: the options, the report, and how progress is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import SessionLog, decay_weights

Progress = Callable[[float, str], None]
"""Called as progress(share done from 0 to 1, what is being done)."""

SHAPE = ("embedding_size", "max_length", "layers")
"""The hyperparameters that shape a model's weights, which a warm start cannot change."""

LOSS_NAMES = ("softmax", "bpr_max")

OBJECTIVE_WEIGHTS = ("objective_view", "objective_cart", "objective_purchase")


class OptionsError(ValueError):
    """A hyperparameter that does not exist, or a value that it cannot have."""

    exit_code = 2


@dataclass(frozen=True)
class TrainingOptions:
    """The hyperparameters; one set of defaults for every shop.

    Attributes:
        embedding_size: width of the item embeddings and of the session encoder.
        epochs: passes over the sessions when training from scratch.
        warm_epochs: passes over the sessions of a warm start.
        batch_size: targets in a batch, about, and at most: few sessions are cut into more, smaller batches.
            Batches hold sessions of one length.
        learning_rate: Adam's, at its peak; it decays by a cosine to nearly nothing.
        warm_learning_rate: the same for a warm start.
        warm_negatives: of sequence models, the items sampled for each batch of a warm start, at most; a small
            catalogue needs fewer.
        averaging: of sequence models, the share of a warm start's steps, at its end, whose weights are
            averaged; 0 keeps the last step's. See models.layers.warm_start.WeightAverage.
        trust_region: of sequence models, how far a warm start may move a known item on the unit sphere on
            which it is scored, so that for a given state its score changes by no more than this over the
            temperature; None sets no bound. Items that are new move freely.
        retire_below: of sequence models, a warm start drops items that it does not read and whose count,
            which `memory` decays at each, is less; 0 keeps all.
        dropout: share of values dropped in the encoder and from item embeddings while training.
        temperature: cosines are divided by it before the softmax; at least 0.02.
        negatives: items sampled by popularity ** alpha, shared by a batch.
        alpha: 0 samples all items alike, 1 by popularity.
        loss: of the sequence models, one of LOSS_NAMES: cross-entropy (softmax) or BPR-max (bpr_max).
        layers: recurrent layers of gru, blocks of transformer.
        half_life: share of the sessions after which a session weighs one half, counted from the latest;
            None = all weigh the same. Only where no weights are given, but neighbours age besides them.
        max_length: the last items of a session that are read.
        memory: share of the old counts (popularity, co-occurrence) that a warm start keeps.
        neighbours: sessions whose items the neighbours model scores.
        sample: the newest sessions with an item of the current one, among which neighbours are looked for.
        regularization: of factorization, the weight of the squares of a factor's numbers.
        confidence: of factorization, how much more an observed item weighs than an unobserved one.
        members: of ensemble, the names of its models, with + between them.
        objective_view: what a target counts that its session neither adds to the cart nor buys. Where the
            log does not tell, all count alike. The objectives' proportions matter, not their sum.
        objective_cart: what a target counts that its session adds to the cart, then or later. 0, 1, 1 learns
            what is added next, 1, 1, 1 what comes next.
        objective_purchase: what a target counts that its session buys, then or later, added or not.
        users: of hybrid, how many it knows at most: those with the most sessions, each with two or more.
        seed: of the initial weights, the order of batches and the negatives.
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
    seed: int = 7

    def __post_init__(self) -> None:
        allowed = {
            "embedding_size": self.embedding_size >= 1,
            "epochs": self.epochs >= 0,
            "warm_epochs": self.warm_epochs >= 0,
            "batch_size": self.batch_size >= 1,
            "learning_rate": self.learning_rate > 0,
            "warm_learning_rate": self.warm_learning_rate > 0,
            "warm_negatives": self.warm_negatives >= 1,
            "averaging": 0 <= self.averaging < 1,
            "trust_region": self.trust_region is None or self.trust_region > 0,
            "retire_below": self.retire_below >= 0,
            "dropout": 0 <= self.dropout < 1,
            "temperature": self.temperature >= 0.02,
            "negatives": self.negatives >= 1,
            "alpha": self.alpha >= 0,
            "loss": self.loss in LOSS_NAMES,
            "layers": self.layers >= 1,
            "half_life": self.half_life is None or self.half_life > 0,
            "max_length": self.max_length >= 1,
            "memory": 0 <= self.memory <= 1,
            "neighbours": self.neighbours >= 1,
            "sample": self.sample >= 1,
            "regularization": self.regularization > 0,
            "confidence": self.confidence > 0,
            "users": self.users >= 0,
            "members": all(self.members.split("+")),
            **{name: 0 <= getattr(self, name) < inf for name in OBJECTIVE_WEIGHTS},
        }
        for name, holds in allowed.items():
            if not holds:
                raise OptionsError(f"{name} cannot be {getattr(self, name)!r}")
        if not any(self.objectives):
            raise OptionsError(f"{', '.join(OBJECTIVE_WEIGHTS)} cannot all be 0: nothing would be learned")

    @property
    def objectives(self) -> tuple[float, ...]:
        """The weights of the objectives, in the order of OBJECTIVE_WEIGHTS."""
        return tuple(getattr(self, name) for name in OBJECTIVE_WEIGHTS)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingOptions:
        """Build options from a mapping, e.g. of a command line or a saved model.

        Raises:
            OptionsError: a name that is no hyperparameter, with those that are.
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
        """Return the options with some of them changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class TrainingReport:
    """What one training did.

    Attributes:
        sessions: sessions read.
        targets: predictions trained on in one epoch.
        steps: optimizer steps.
        epochs: passes over the sessions.
        items: items in the vocabulary afterwards.
        new_items: of these, the ones that this training added.
        seconds: wall clock.
        targets_per_second: targets times epochs, divided by seconds.
        losses: mean loss of each epoch.
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

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON-serialisable dict."""
        return asdict(self)


def session_weights(
    log: SessionLog, weights: NDArray[np.float32] | None, options: TrainingOptions
) -> NDArray[np.float32]:
    """Return the weights given, or those that options.half_life makes of the sessions' order.

    Raises:
        ValueError: weights that are not one finite, non-negative number a session.
    """
    if weights is None:
        half_life = options.half_life and options.half_life * max(1, len(log))
        return decay_weights(np.arange(len(log), dtype=np.float64), None, half_life)
    if weights.shape != (len(log),) or not np.all(np.isfinite(weights)) or np.any(weights < 0):
        raise ValueError(
            f"weights should be one finite number ≥ 0 a session, for {len(log)} sessions; "
            f"received shape {weights.shape}"
        )
    return weights.astype(np.float32)
