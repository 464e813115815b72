"""A model that silos share: equal items in an equal order, and weights that move between processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from models.by_name import create
from models.data.sequences import SessionLog
from models.data.vocabulary import Vocabulary
from models.federated.updates import Arrays
from models.options import TrainingOptions, TrainingReport
from models.sequential.base import SequenceModel
from models.stored import ModelError

SHARED = ("attention", "gru", "transformer")
"""The models that can be shared: their weights are a table of items and an encoder, nothing else."""
ROUND_SEEDS = 1009  # between the seeds of two rounds; a prime


def shared_model(architecture: str, options: TrainingOptions, items: Iterable[str]) -> SequenceModel:
    """Make an untrained model over agreed items. Equal arguments give equal weights everywhere.

    Args:
        architecture: one of SHARED.
        options: the hyperparameters.
        items: the ids that all silos agree on; they are sorted, so that their order tells nothing.

    Raises:
        ModelError: another architecture, or no items.
    """
    if architecture not in SHARED:
        raise ModelError(
            f"a federated training learns one of {', '.join(SHARED)}, received {architecture!r}: "
            "other models hold values of single silos beside their weights"
        )
    agreed = sorted(set(items))
    if not agreed:
        raise ModelError("a federated training needs items that all silos agree on, received none")
    model = create(architecture, options)
    assert isinstance(model, SequenceModel)
    model.begin(Vocabulary(agreed))
    return model


def learn_round(
    model: SequenceModel,
    log: SessionLog,
    session_weights: NDArray[np.float32],
    *,
    number: int,
    rate: float,
    epochs: int,
    popularity: NDArray[np.float32],
) -> TrainingReport:
    """Train the shared model for one round on a silo's sessions.

    The optimizer begins anew, so that a silo that was started again learns as any other. Negatives are
    sampled by the popularity that the silos found together and by the silo's own sessions.

    Args:
        model: with the weights that the round begins with.
        log: the sessions, of agreed items only; see `agreed_only`.
        session_weights: float32 [n_sessions].
        number: of the round, from 1.
        rate: the highest learning rate of this round.
        epochs: passes over the sessions.
        popularity: float32 [size], the shares of the items that the last round found; zeros at first.
    """
    seed = (model.options.seed + ROUND_SEEDS * number) % 2**32
    options = model.options.but(
        warm_epochs=epochs,
        warm_learning_rate=rate,
        memory=1.0,
        retire_below=0.0,
        trust_region=None,
        averaging=0.0,
        seed=seed,
    )
    own = model.options
    model.restart_optimizer()
    counts = popularity.astype(np.float64) * max(1, log.n_events)
    model.vocabulary = model.vocabulary.with_counts(counts)
    report = model.warm_start(log, session_weights, options)
    model.options = own
    return report


def agreed_only(
    log: SessionLog, weights: NDArray[np.float32], vocabulary: Vocabulary
) -> tuple[SessionLog, NDArray[np.float32], int]:
    """Keep the agreed items of a log, and the sessions with at least two of them.

    Args:
        log: the sessions.
        weights: float32 [n_sessions].
        vocabulary: the agreed items.

    Returns:
        The sessions, whose catalogue has agreed items only; their weights; how many events were left out.
    """
    known = (vocabulary.encode(log.catalogue) > 0)[log.items]
    lengths = np.bincount(log.session_of_event[known], minlength=len(log))
    in_use = np.flatnonzero(np.bincount(log.items[known], minlength=len(log.catalogue)))
    place = np.zeros(len(log.catalogue), np.int32)
    place[in_use] = np.arange(len(in_use))
    kept = SessionLog(
        place[log.items[known]],
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        log.catalogue[in_use],
        log.ended_at,
        log.context,
        {name: column[known] for name, column in log.event_context.items()},
        {name: column[in_use] for name, column in log.item_features.items()},
    )
    used = lengths >= 2
    return kept.select(used), weights[used], int(np.count_nonzero(~known))


def rate_of_round(highest: float, number: int, rounds: int) -> float:
    """Return the highest learning rate of a round: along a cosine from `highest` down to a tenth of it."""
    done = (number - 1) / max(1, rounds - 1)
    return float(highest * (0.1 + 0.9 * 0.5 * (1.0 + np.cos(np.pi * done))))


def assign_weights(model: SequenceModel, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Give the model these weights.

    Raises:
        ModelError: names or shapes that are not the model's.
    """
    present = model.weights()
    wrong = [name for name in set(present) | set(weights) if name not in weights or name not in present]
    wrong += [name for name in present if name in weights and weights[name].shape != present[name].shape]
    if wrong:
        raise ModelError(f"these weights are not of this model: {', '.join(sorted(wrong))} differ")
    model.assign_weights(weights)


def copied(weights: Mapping[str, NDArray[np.float32]]) -> Arrays:
    """Return weights that a training does not change."""
    return {name: np.array(array, np.float32) for name, array in weights.items()}
