"""Which hyperparameters of each model the search varies, and in which range. The others keep their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from models.options import TrainingOptions
from models.stored import ModelError


@dataclass(frozen=True)
class Between:
    """Numbers from `low` to `high`, both included. They are integers if `low` is an integer.

    Attributes:
        low: the least number.
        high: the greatest number.
        log: whether the logarithm is drawn uniformly, as for rates.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class OneOf:
    """A few values without an order.

    Attributes:
        values: the possible values.
    """

    values: tuple[Any, ...]


Range = Between | OneOf

# The defaults of TrainingOptions lie inside every range, because a search begins with them.
_DECAY: dict[str, Range] = {"half_life": OneOf((None, 1.0, 0.5, 0.25, 0.125))}
_LEARNED: dict[str, Range] = {
    "embedding_size": OneOf((64, 128, 256)),
    "epochs": Between(2, 12),
    "batch_size": OneOf((256, 512, 1024)),
    "learning_rate": Between(3e-4, 1e-2, log=True),
    "dropout": Between(0.0, 0.5),
    "negatives": OneOf((1024, 2048, 4096)),
    **_DECAY,
}
_SEQUENCE: dict[str, Range] = {
    **_LEARNED,
    "temperature": Between(0.03, 0.15, log=True),
    "loss": OneOf(("softmax", "bpr_max")),
    "alpha": Between(0.0, 1.0),
}
_DEEP: dict[str, Range] = {**_SEQUENCE, "layers": Between(1, 3)}

SEARCH_SPACES: dict[str, dict[str, Range]] = {
    "popularity": _DECAY,
    "repeat": _DECAY,
    "cooccurrence": _DECAY,
    "neighbours": {
        "neighbours": Between(50, 1500, log=True),
        "sample": Between(500, 5000, log=True),
        **_DECAY,
    },
    "factorization": {
        "embedding_size": OneOf((64, 128, 256)),
        "epochs": Between(2, 20),
        "regularization": Between(1e-4, 1.0, log=True),
        "confidence": Between(1.0, 100.0, log=True),
        **_DECAY,
    },
    "ncf": _LEARNED,
    "attention": _SEQUENCE,
    "gru": _DEEP,
    "transformer": _DEEP,
    "hybrid": _SEQUENCE,
    "ensemble": _LEARNED,
}


def search_space(model: str) -> Mapping[str, Range]:
    """Return the ranges of a model's hyperparameters that TrainingOptions has.

    Raises:
        ModelError: a model without a search space; the message lists the models that have one.
    """
    if model not in SEARCH_SPACES:
        raise ModelError(f"no search space for model {model!r}; there are {', '.join(SEARCH_SPACES)}")
    known = {field.name for field in fields(TrainingOptions)}
    return {name: values for name, values in SEARCH_SPACES[model].items() if name in known}
