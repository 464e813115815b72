"""A silo: it reads its own sessions, learns on them when a coordinator asks, and answers with an update."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from lastaisle.errors import ExitCode, LastaisleError, NotEnoughDataError
from lastaisle.sessions.windows import Window, evaluation_sessions, training_sessions
from models.data.sequences import decay_weights
from models.federated.agreement import Agreement, AgreementError
from models.federated.learner import Learner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lastaisle.lake.lake import Lake
    from models.federated.updates import Update

LEAST_SESSIONS = 100
"""With fewer sessions a silo does not take part: its update would tell too much about each of them."""

logger = logging.getLogger(__name__)


class SiloRefusedError(LastaisleError):
    """A silo does not take part in a training that its own rules forbid."""

    exit_code = ExitCode.WRONG_REQUEST


class Silo:
    """The lake of one silo, and the trainings that it takes part in.

    Attributes:
        lake: the silo's own lake.
        accepted: the rules of aggregation under which the silo takes part.
    """

    def __init__(self, lake: Lake, accepted: Collection[str]) -> None:
        self.lake = lake
        self.accepted = frozenset(accepted)
        self._learner: tuple[str, Learner] | None = None

    def answer(
        self,
        text: str,
        number: int,
        weights: Mapping[str, NDArray[np.float32]],
        popularity: NDArray[np.float32],
    ) -> Update:
        """Learn for one round.

        Args:
            text: the agreement, as JSON.
            number: of the round, from 1.
            weights: with which the round begins.
            popularity: float32 [size], the shares of the items so far.

        Raises:
            SiloRefusedError: the silo's rules forbid this training.
            NotEnoughDataError: too few sessions.
            AgreementError: an agreement that cannot be trained by.
        """
        learner = self._learner_of(text)
        if not 1 <= number <= learner.agreement.rounds:
            raise SiloRefusedError(
                f"round {number} is not one of the {learner.agreement.rounds} rounds of the agreement: a "
                "coordinator that asks more often than agreed may be after single sessions"
            )
        logger.info("round %d of %d begins", number, learner.agreement.rounds)
        update = learner.answer(number, weights, popularity)
        logger.info("round %d of %d: the update is made", number, learner.agreement.rounds)
        return update

    def _learner_of(self, text: str) -> Learner:
        """Return the learner of this training; the sessions are read once a training."""
        name = hashlib.sha256(text.encode()).hexdigest()
        if self._learner is None or self._learner[0] != name:
            self._learner = None  # frees the memory of the training before
            self._learner = (name, self._read(Agreement.from_json(text)))
        return self._learner[1]

    def _read(self, agreement: Agreement) -> Learner:
        if agreement.aggregation not in self.accepted:
            raise SiloRefusedError(
                f"the coordinator asks for aggregation {agreement.aggregation!r}, but this silo accepts "
                f"{', '.join(sorted(self.accepted))}; see LASTAISLE_SILO_ACCEPTS"
            )
        start, end, until = (
            datetime.fromisoformat(moment)
            for moment in (agreement.window_start, agreement.window_end, agreement.seen_until)
        )
        read = training_sessions(self.lake, Window(start, end, agreement.half_life_hours), until, None)
        usable = int((read.log.lengths >= 2).sum())
        if usable < LEAST_SESSIONS:
            raise NotEnoughDataError(
                f"{usable} sessions of two items or more ended between {agreement.window_start} and "
                f"{agreement.window_end}, but a silo takes part with {LEAST_SESSIONS} (left out: "
                f"{dict(read.left_out)}): ingest more"
            )
        weights = decay_weights(read.log.ended_at, end.timestamp(), agreement.half_life_hours * 3600)
        judging = evaluation_sessions(self.lake, end, until, None).log if until > end else None
        learner = Learner(agreement, read.log, weights, judging)
        logger.info(
            "takes part with %d sessions; %d events are of items outside the coordinator's catalogue",
            usable,
            learner.left_out,
        )
        return learner


REFUSALS = (AgreementError, LastaisleError)
"""The errors whose kind a silo tells a coordinator; their texts stay in the silo's own log."""
