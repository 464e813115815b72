"""What all silos and the server agree on before the first round, as plain values that travel as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

from models.federated.aggregation import AGGREGATIONS
from models.options import OptionsError, TrainingOptions


class AgreementError(OptionsError):
    """An agreement that cannot be trained by."""


@dataclass(frozen=True)
class Agreement:
    """One federated training.

    Attributes:
        architecture: one of models.federated.shared.SHARED.
        options: the hyperparameters, as of TrainingOptions.
        items: the ids of the items that the model knows. They come from the public catalogue, never from
            sessions.
        rounds: how often the silos learn and the server aggregates.
        local_epochs: passes over a silo's sessions in one round.
        learning_rate: the highest learning rate of the first round.
        aggregation: one of AGGREGATIONS.
        clip: the greatest Euclidean length of a silo's change of the weights in a round.
        max_sessions: the greatest number of sessions that counts for a silo.
        noise: the deviation of the noise that a silo adds to its change, as a multiple of `clip`; 0 = none.
        hostile: how many silos may be hostile; for trimmed and krum.
        momentum: the share of the last step of the server that is taken again.
        min_silos: a round with fewer updates changes nothing.
        least_count: a silo tells counts only from this number on.
        window_start: the first moment of the sessions that train, ISO 8601.
        window_end: the moment after them.
        seen_until: the moment after the sessions that judge, which begin at window_end.
        half_life_hours: the age at which a session weighs one half.
    """

    architecture: str
    options: Mapping[str, Any]
    items: tuple[str, ...]
    rounds: int = 6
    local_epochs: int = 1
    learning_rate: float = 0.006
    aggregation: str = "mean"
    clip: float = 100.0
    max_sessions: int = 100_000
    noise: float = 0.0
    hostile: int = 1
    momentum: float = 0.0
    min_silos: int = 3
    least_count: int = 10
    window_start: str = ""
    window_end: str = ""
    seen_until: str = ""
    half_life_hours: float = 72.0

    def __post_init__(self) -> None:
        if self.aggregation not in AGGREGATIONS:
            raise AgreementError(
                f"aggregation cannot be {self.aggregation!r}: it is one of {', '.join(AGGREGATIONS)}"
            )
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if not isinstance(value, int | float) or not isfinite(value) or not low <= value <= high:
                raise AgreementError(
                    f"{name} cannot be {value!r}: it is at least {low:,} and at most {high:,}"
                )
        needed = {"trimmed": 2 * self.hostile + 1, "krum": self.hostile + 2, "secure": 3}
        if self.min_silos < needed.get(self.aggregation, 1):
            raise AgreementError(
                f"min_silos cannot be {self.min_silos} with aggregation {self.aggregation}"
                + (f" and hostile {self.hostile}" if self.aggregation != "secure" else "")
                + f": it is at least {needed[self.aggregation]}"
            )
        if not self.items:
            raise AgreementError("items cannot be empty: ingest the public catalogue first")
        epsilon = self.training_options().epsilon
        if epsilon is not None:
            raise AgreementError(
                f"epsilon cannot be {epsilon:g} in a federated training: nothing counts what the rounds of "
                "all silos spend, so a bound would be false. Train without it (--set epsilon=null), and "
                "let the silos add noise by LASTAISLE_FEDERATION_NOISE"
            )

    def training_options(self) -> TrainingOptions:
        """Return the hyperparameters.

        Raises:
            OptionsError: a hyperparameter that does not exist, or cannot have its value.
        """
        return TrainingOptions.from_dict(dict(self.options))

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Agreement:
        """Read what `to_json` wrote.

        Raises:
            AgreementError: the text is no agreement of this release; the message names what differs.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise AgreementError(f"the agreement is no JSON: {error.msg}") from None
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict):
            raise AgreementError(f"the agreement is no JSON object, received a {type(values).__name__}")
        if unknown := set(values) - names:
            raise AgreementError(
                f"the agreement has values that this release does not know: {', '.join(sorted(unknown))}"
            )
        return cls(**{**values, "items": tuple(values.get("items", ()))})


_BOUNDS = (
    ("rounds", 1, 1000),
    ("local_epochs", 1, 100),
    ("learning_rate", 1e-6, 10),
    ("clip", 1e-6, 1e6),
    ("max_sessions", 1, 10_000_000),
    ("noise", 0, 1000),
    ("hostile", 0, 1000),
    ("momentum", 0, 0.99),
    ("min_silos", 1, 1000),
    ("least_count", 1, 1_000_000),
    ("half_life_hours", 1e-3, 1e6),
)
