"""The server of a federated training: it sees updates, never sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.federated.aggregation import AggregationError, Bounds, Momentum, aggregate, bounded, refusal_of
from models.federated.agreement import Agreement
from models.federated.shared import assign_weights, copied, shared_model
from models.federated.updates import Arrays, Update, applied, length_of
from models.sequential.base import SequenceModel

Silo = Callable[[int, Arrays, NDArray[np.float32]], Update]
"""Called as silo(number of the round, weights, popularity); see models.federated.learner.Learner.answer."""


@dataclass(frozen=True)
class Round:
    """What one round did.

    Attributes:
        number: from 1.
        silos: how many silos answered in time with a usable update.
        refused: name of a silo to why its update was not used.
        changed: whether the weights changed; False = too few updates.
        sessions: of all silos together, each up to max_sessions.
        length: Euclidean length of the aggregated change.
        recall: recall@20 on the silos' judging sessions, before the round; None = too few targets.
        loss: the mean loss of the silos' last local epoch; None = not known.
        seconds: wall-clock time since the round before.
    """

    number: int
    silos: int
    refused: Mapping[str, str] = field(default_factory=dict)
    changed: bool = True
    sessions: int = 0
    length: float = 0.0
    recall: float | None = None
    loss: float | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the round as a JSON-serialisable dict."""
        return asdict(self)


class Server:
    """The weights of a federated training, and what they become with each round.

    Attributes:
        agreement: the training.
        weights: the present weights.
        popularity: float32 [size], the present shares of the items.
        rounds: what each round did.
    """

    def __init__(self, agreement: Agreement) -> None:
        self.agreement = agreement
        model = shared_model(agreement.architecture, agreement.training_options(), agreement.items)
        self.weights: Arrays = copied(model.weights())
        self.popularity = np.zeros(model.vocabulary.size, np.float32)
        self.rounds: list[Round] = []
        self._momentum = Momentum(agreement.momentum)
        self._began = perf_counter()

    def finish_round(self, updates: Mapping[str, Update], failed: Mapping[str, str] | None = None) -> Round:
        """Aggregate the updates of a round.

        Args:
            updates: name of a silo to its update.
            failed: name of a silo to why it sent none.
        """
        agreement, refused = self.agreement, dict(failed or {})
        usable: list[Update] = []
        for name in sorted(updates):
            if reason := self._refusal_of(updates[name]):
                refused[name] = reason
            else:
                usable.append(updates[name])
        usable = bounded(usable, Bounds(agreement.clip, agreement.max_sessions))
        if len(usable) < agreement.min_silos:
            return self._note(len(usable), refused)
        try:
            return self.take(
                aggregate(usable, agreement.aggregation, agreement.hostile), len(usable), refused
            )
        except AggregationError as error:
            return self._note(len(usable), {**refused, "all": str(error)})

    def take(self, total: Update, silos: int, refused: Mapping[str, str] | None = None) -> Round:
        """Take an aggregated update of so many silos, as secure aggregation makes it."""
        change = self._momentum.step(total.change)
        self.weights = applied(self.weights, change)
        self.popularity = total.popularity
        return self._note(silos, dict(refused or {}), total, length_of(change))

    def _refusal_of(self, update: Update) -> str | None:
        if update.popularity.shape != self.popularity.shape:
            return f"popularity has shape {update.popularity.shape}, expected {self.popularity.shape}"
        return refusal_of(update, self.weights)

    def _note(
        self, silos: int, refused: Mapping[str, str], total: Update | None = None, length: float = 0.0
    ) -> Round:
        now = perf_counter()
        done = Round(
            number=len(self.rounds) + 1,
            silos=silos,
            refused=refused,
            changed=total is not None,
            sessions=total.sessions if total else 0,
            length=length,
            recall=_known(total.recall) if total else None,
            loss=_known(total.loss) if total else None,
            seconds=round(now - self._began, 3),
        )
        self._began = now
        self.rounds.append(done)
        return done

    def model(self) -> SequenceModel:
        """Return the model with the present weights and popularity."""
        agreement = self.agreement
        model = shared_model(agreement.architecture, agreement.training_options(), agreement.items)
        assign_weights(model, self.weights)
        sessions = max((done.sessions for done in self.rounds), default=0)
        model.vocabulary = model.vocabulary.with_counts(self.popularity.astype(np.float64) * max(1, sessions))
        return model


def run_rounds(agreement: Agreement, silos: Mapping[str, Silo]) -> Server:
    """Run all rounds in this process, with silos that answer when they are called."""
    server = Server(agreement)
    for number in range(1, agreement.rounds + 1):
        updates = {name: silo(number, server.weights, server.popularity) for name, silo in silos.items()}
        server.finish_round(updates)
    return server


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
