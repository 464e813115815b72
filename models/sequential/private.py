"""Private training of the sequence models: noisy counts first, then noisy steps (DP-SGD).

models.layers.private_counts says what is public.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.layers.private_counts import Counted, generator_of
from models.options import Progress, TrainingOptions
from models.private.accounting import noise_for
from models.private.mechanism import Mechanism
from models.sequential.private_batches import PrivateBatches
from models.sequential.private_trainer import PrivateTrainer
from models.sequential.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

# Rows of rarer items, by their noisy counts, keep the values that they have. A row learns from the units that
# have its item, and its noise does not depend on them.
LEAST_TRAINED = 2.0  # in standard deviations of the noise of a count
WARM_UP = 10  # steps during which the rate rises
LEAST_SAMPLED = 1.0  # the count by which an item is sampled as a negative, at least


def train(
    trainer: Trainer,
    batches: PrivateBatches,
    counted: Counted,
    options: TrainingOptions,
    *,
    seed: int | None,
    progress: Progress | None,
) -> Mechanism:
    """Take all steps, and return what the training released.

    Args:
        trainer: its table and its weights change.
        batches: the sessions.
        counted: the vocabulary and its release.
        options: the options; epsilon is set.
        seed: of the noise and of the choice of shoppers; see `PrivateTrainer`.
        progress: is told about the progress.
    """
    assert options.epsilon is not None
    steps = options.private_steps
    share = min(1.0, options.private_batch / max(batches.units, 1))
    noise = noise_for(options.epsilon, options.delta, share, steps, [counted.release])
    counts = counted.vocabulary.counts
    trained = counts >= LEAST_TRAINED * counted.release.noise_multiplier
    private = PrivateTrainer(trainer, trained, options.clip, seed)
    sample, first = generator_of(seed), int(trainer.adam.steps.numpy())
    public = np.random.default_rng((options.seed, first))
    negatives = _negatives_of(counts, options)
    for done in range(steps):
        private.step(
            batches.step(share, sample),
            *negatives(public),
            noise_multiplier=noise,
            expected_units=share * batches.units,
            rate=_rate(options.private_learning_rate, done, steps),
            seed=int(public.integers(2**31)),
        )
        if progress:
            progress((done + 1) / steps, f"private step {done + 1} of {steps}")
    return Mechanism(batches.kind, share, noise, steps, options.clip, batches.units, (counted.release,))


def _rate(highest: float, done: int, total: int) -> float:
    """Return the rate of the next step: it rises during WARM_UP steps, and then falls along a cosine."""
    return (
        highest
        * min(1.0, (done + 1) / WARM_UP)
        * float(0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * done / total)))
    )


def _negatives_of(
    counts: NDArray[np.float64], options: TrainingOptions
) -> Callable[[np.random.Generator], tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Return what draws distinct negatives, with the logarithms of their probabilities to be drawn.

    Items are drawn without replacement, in proportion to their noisy counts ** alpha: the items with the
    smallest exponential variables, whose rates are the powers (Efraimidis & Spirakis 2006). Given the
    smallest variable that is not drawn, t, an item of the rate r is drawn with the probability 1 - exp(-rt).
    """
    powers = np.maximum(counts, LEAST_SAMPLED) ** options.alpha
    drawn = min(options.negatives, len(counts) - 2)

    def draw(generator: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        if drawn < 1:
            return np.arange(1, len(counts), dtype=np.int32), np.zeros(len(counts) - 1, np.float32)
        keys = generator.exponential(size=len(counts)) / powers
        keys[0] = np.inf
        order = np.argpartition(keys, drawn)
        chosen = order[:drawn]
        probability = -np.expm1(-powers[chosen] * keys[order[drawn]])
        return chosen.astype(np.int32), np.log(np.maximum(probability, 1e-30)).astype(np.float32)

    return draw
