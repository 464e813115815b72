"""The noisy counts with which each private training begins.

Two things are public: the ids of the items, if the caller gives a catalogue, and how many shoppers there
are. Everything else that leaves a private training has noise. A weight that the caller gives to a session
follows from the session alone, such as from its age at the end of the window; without given weights all weigh
1, because the order of the sessions depends on the others.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.private import noisy_vocabulary
from models.data.vocabulary import Vocabulary
from models.options import Training, TrainingOptions
from models.private.accounting import release_noise_for
from models.private.mechanism import Release

COUNTS_SHARE = 0.25  # of epsilon, that the counts of items would spend alone if more is released
THRESHOLD_SHARE = 0.1  # of delta, for the vocabulary if the items are not public


@dataclass(frozen=True)
class Counted:
    """What the noisy counts of a training gave.

    Attributes:
        vocabulary: the items, with noisy counts.
        release: what the counts released.
    """

    vocabulary: Vocabulary
    release: Release


def generator_of(seed: int | None) -> np.random.Generator:
    """Return a generator for noise and for the choice of shoppers; None = with a secret seed."""
    return np.random.default_rng(secrets.randbits(128) if seed is None else seed)


def private_weights(training: Training) -> NDArray[np.float32]:
    """Return the weight of each session, at most 1; see the module."""
    given = training.given_weights
    return (
        np.ones(len(training.log), np.float32) if given is None else np.minimum(given, 1).astype(np.float32)
    )


def count(
    training: Training,
    known: Vocabulary,
    options: TrainingOptions,
    generator: np.random.Generator,
    share: float = COUNTS_SHARE,
) -> Counted:
    """Return the vocabulary with noisy counts; see `noisy_vocabulary`.

    Args:
        training: the sessions, and perhaps a catalogue.
        known: the vocabulary before.
        options: the options; epsilon is set.
        generator: draws the noise.
        share: the share of epsilon that the counts would spend if they were released alone.
    """
    assert options.epsilon is not None
    public = None if training.items is None else list(training.items.ids)
    own_delta = THRESHOLD_SHARE * options.delta if public is None else 0.0
    noise = release_noise_for(share * options.epsilon, options.delta, own_delta)
    vocabulary, release = noisy_vocabulary(
        training.log,
        private_weights(training),
        known,
        public,
        memory=options.memory,
        noise=noise,
        delta=own_delta,
        generator=generator,
    )
    return Counted(vocabulary, release)
