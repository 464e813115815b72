"""A silo in one federated training: it learns on its own sessions, and answers with an update."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.metrics import recall_at_k
from models.evaluation.ranking import rank_targets
from models.federated.agreement import Agreement
from models.federated.shared import (
    agreed_only,
    assign_weights,
    copied,
    learn_round,
    rate_of_round,
    shared_model,
)
from models.federated.updates import Update, change_of, clipped, popularity_of, with_noise
from models.stored import ModelError

LEAST_TARGETS = 100  # a recall on fewer targets would tell about single sessions


class Learner:
    """A silo's model and sessions during one training.

    Attributes:
        agreement: the training.
        model: the shared model, with the weights of the latest round.
        left_out: how many events were of items that the silos have not agreed on.
    """

    def __init__(
        self,
        agreement: Agreement,
        log: SessionLog,
        session_weights: NDArray[np.float32] | None = None,
        judging: SessionLog | None = None,
        noise_seed: int | None = None,
    ) -> None:
        """Prepare a training.

        Args:
            agreement: the training.
            log: the silo's own sessions.
            session_weights: float32 [n_sessions] of `log`; by default all weigh 1.
            judging: later sessions of the silo, for the recall of each round.
            noise_seed: of the noise; None = from the operating system, as real noise must be.

        Raises:
            ModelError: no session has two agreed items.
        """
        self.agreement = agreement
        self.model = shared_model(agreement.architecture, agreement.training_options(), agreement.items)
        weights = np.ones(len(log), np.float32) if session_weights is None else session_weights
        self._log, self._weights, self.left_out = agreed_only(log, weights, self.model.vocabulary)
        if not len(self._log):
            raise ModelError(
                f"none of {len(log)} sessions has two items that the silos agreed on: ingest sessions of the "
                "window, or compare the silo's item ids with the catalogue of the coordinator"
            )
        self._examples = next_item_examples(judging) if judging is not None else None
        self._noise = np.random.default_rng(noise_seed)
        events = self.model.vocabulary.encode(self._log.catalogue)[self._log.items]
        counts = np.bincount(events, minlength=self.model.vocabulary.size).astype(np.float64)
        self._popularity = popularity_of(counts, agreement.least_count)

    def answer(
        self, number: int, weights: Mapping[str, NDArray[np.float32]], popularity: NDArray[np.float32]
    ) -> Update:
        """Learn for one round, and return the update.

        Args:
            number: of the round, from 1.
            weights: with which the round begins.
            popularity: float32 [size], the shares that the last round found; zeros at first.
        """
        agreement = self.agreement
        before = copied(weights)
        assign_weights(self.model, before)
        recall = self._recall()
        report = learn_round(
            self.model,
            self._log,
            self._weights,
            number=number,
            rate=rate_of_round(agreement.learning_rate, number, agreement.rounds),
            epochs=agreement.local_epochs,
            popularity=popularity,
        )
        change = clipped(change_of(self.model.weights(), before), agreement.clip)
        change = with_noise(change, agreement.noise * agreement.clip, self._noise)
        sessions = min(len(self._log), agreement.max_sessions)
        loss = report.losses[-1] if report.losses else float("nan")
        return Update(change, sessions, self._popularity, recall, loss)

    def _recall(self) -> float:
        """Return recall@20 of the present weights on the judging sessions; NaN if they have few targets."""
        if self._examples is None or len(self._examples) < LEAST_TARGETS:
            return float("nan")
        return recall_at_k(rank_targets(self.model, self._examples).ranks, 20)
