"""Updates and weights as Flower's messages carry them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray

from models.federated.updates import Arrays, Update

WEIGHTS, CHANGE, POPULARITY, ASKED, TOLD = "weights", "change", "popularity", "asked", "told"


def question(
    agreement: str, number: int, weights: Mapping[str, NDArray[np.float32]], popularity: NDArray[np.float32]
) -> RecordDict:
    """Return what the server asks a silo in a round."""
    return RecordDict(
        {
            WEIGHTS: to_record(weights),
            POPULARITY: to_record({POPULARITY: popularity}),
            ASKED: ConfigRecord({"agreement": agreement, "round": number}),
        }
    )


def asked(content: RecordDict) -> tuple[str, int, Arrays, NDArray[np.float32]]:
    """Read a question: the agreement, the number of the round, the weights and the popularity.

    Raises:
        ValueError: the content is no question.
    """
    try:
        config = content[ASKED]
        weights = from_record(content[WEIGHTS])
        popularity = from_record(content[POPULARITY])[POPULARITY]
        return str(config["agreement"]), int(config["round"]), weights, popularity
    except (KeyError, TypeError) as error:
        raise ValueError(f"the message is no question of a coordinator: {error!r} is missing") from None


def answer(update: Update) -> RecordDict:
    """Return what a silo answers; measures that are not known are left out."""
    told: dict[str, float | int] = {"sessions": update.sessions}
    told |= {
        name: float(value)
        for name, value in (("recall", update.recall), ("loss", update.loss))
        if np.isfinite(value)
    }
    return RecordDict(
        {
            CHANGE: to_record(update.change),
            POPULARITY: to_record({POPULARITY: update.popularity}),
            TOLD: MetricRecord(told),
        }
    )


def answered(content: RecordDict) -> Update:
    """Read an answer.

    Raises:
        ValueError: the content is no answer.
    """
    try:
        told = content[TOLD]
        return Update(
            from_record(content[CHANGE]),
            int(told["sessions"]),
            from_record(content[POPULARITY])[POPULARITY],
            float(told.get("recall", np.nan)),
            float(told.get("loss", np.nan)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the message is no answer of a silo: {error!r} is missing") from None


def to_record(arrays: Mapping[str, NDArray[np.float32]]) -> ArrayRecord:
    """Return arrays as a record."""
    return ArrayRecord({name: Array(np.ascontiguousarray(array)) for name, array in arrays.items()})


def from_record(record: ArrayRecord) -> Arrays:
    """Return the arrays of a record."""
    return {name: np.asarray(array.numpy(), np.float32) for name, array in record.items()}
