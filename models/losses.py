"""The loss: softmax over sampled items, corrected for how likely each was sampled (logQ)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class SampledItems:
    """The embeddings that one batch reads, each once.

    Attributes:
        rows: [r, d], normalized.
        expected: [r], how often each is expected among the negatives.
        drawn: [r], how often each is among them.
        negatives: int32 [m], place of each negative in `rows`.
    """

    rows: tf.Tensor
    expected: tf.Tensor
    drawn: tf.Tensor
    negatives: tf.Tensor


def sampled_softmax(
    states: tf.Tensor, targets: tf.Tensor, items: SampledItems, temperature: float
) -> tf.Tensor:
    """Return the cross-entropy of each target among all items, [n].

    The sum over all other items is estimated: a negative that is expected e times among the samples counts
    1/e of its exponential (logQ: Bengio & Senécal 2008, Yi et al. 2019). What the target itself adds to that
    estimate is taken out again, so no accidental hit counts. Scores are cosines over a temperature, hence
    bounded, and no maximum needs to be subtracted.

    Args:
        states: [n, d], normalized.
        targets: int32 [n], place of each target in `items.rows`.
        items: the embeddings of targets and negatives.
        temperature: cosines are divided by it.
    """
    states = states / temperature
    score = tf.reduce_sum(states * tf.gather(items.rows, targets), -1)
    share = tf.gather(items.drawn, targets) / tf.gather(items.expected, targets)
    negatives = tf.gather(items.rows, items.negatives)
    estimate = _sum_of_exponentials(states, negatives, 1.0 / tf.gather(items.expected, items.negatives))
    others = tf.maximum(estimate - share * tf.exp(score), 0.0)
    return tf.math.log(others + tf.exp(score)) - score


@tf.custom_gradient
def _sum_of_exponentials(
    states: tf.Tensor, negatives: tf.Tensor, shares: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, None]]]:
    """Return Σ_j shares_j · exp(states · negatives_j), [n]: the costly part of a step.

    The gradient is written out, since it needs the [n, m] exponentials once and no other array of that size.
    """
    exponentials = tf.exp(tf.matmul(states, negatives, transpose_b=True))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, None]:
        of_states = upstream[:, None] * tf.matmul(exponentials, shares[:, None] * negatives)
        of_negatives = tf.matmul(exponentials, upstream[:, None] * states, transpose_a=True)
        return of_states, shares[:, None] * of_negatives, None

    return tf.linalg.matvec(exponentials, shares), gradient
