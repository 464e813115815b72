"""The losses over sampled items, by name in LOSSES: a corrected softmax loss and a pairwise loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.tensorflow_import import tf

REGULARIZATION = 1.0  # the weight of the squared cosines in BPR-max


@dataclass(frozen=True)
class SampledItems:
    """The embeddings that one batch reads, each of them once.

    Attributes:
        rows: [r, d], normalized.
        expected: [r], how often each item is expected among the negatives.
        drawn: [r], how often each item is among the negatives.
        negatives: int32 [m], the place of each negative in `rows`.
    """

    rows: tf.Tensor
    expected: tf.Tensor
    drawn: tf.Tensor
    negatives: tf.Tensor


def sampled_softmax(
    states: tf.Tensor, targets: tf.Tensor, items: SampledItems, temperature: float
) -> tf.Tensor:
    """Return the cross-entropy of each target among all items, [n].

    The sum over all other items is estimated. A negative that is expected e times among the samples counts
    1/e of its exponential (logQ: Bengio & Senécal 2008, Yi et al. 2019). If the target is among the
    negatives, its part of the estimate is subtracted again. Scores are cosines divided by a temperature, so
    they are bounded, and no maximum needs to be subtracted.

    Args:
        states: [n, d], normalized.
        targets: int32 [n], the place of each target in `items.rows`.
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
    """Return Σ_j shares_j · exp(states · negatives_j), [n]. This is the most expensive part of a step.

    The gradient is written by hand: it needs the [n, m] exponentials, and no other array of that size.
    """
    exponentials = tf.exp(tf.matmul(states, negatives, transpose_b=True))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, None]:
        by_states = upstream[:, None] * tf.matmul(exponentials, shares[:, None] * negatives)
        by_negatives = tf.matmul(exponentials, upstream[:, None] * states, transpose_a=True)
        return by_states, shares[:, None] * by_negatives, None

    return tf.linalg.matvec(exponentials, shares), gradient


def bpr_max(states: tf.Tensor, targets: tf.Tensor, items: SampledItems, temperature: float) -> tf.Tensor:
    """Return BPR-max of each target against the negatives, [n] (Hidasi & Karatzoglou 2018).

    The loss is -log Σ_j s_j sigmoid(r - r_j) + REGULARIZATION Σ_j s_j c_j². Here r is the target's score, c_j
    is the cosine of negative j, r_j = c_j / temperature is its score, and s_j is the softmax of the scores of
    the negatives, so that the negatives with the highest scores count most. Scores are bounded, so no maximum
    needs to be subtracted. A negative that is the target itself does not count. If no other negative is left,
    the loss is 0.

    Args:
        states: [n, d], normalized.
        targets: int32 [n], the place of each target in `items.rows`.
        items: the embeddings of targets and negatives. The loss does not correct for how often an item was
            drawn.
        temperature: cosines are divided by it.
    """
    cosine = tf.reduce_sum(states * tf.gather(items.rows, targets), -1, keepdims=True)
    cosines = tf.matmul(states, tf.gather(items.rows, items.negatives), transpose_b=True)
    counts = tf.cast(items.negatives[None, :] != targets[:, None], tf.float32)
    return _bpr_max(cosine, cosines, counts, tf.constant(temperature))


@tf.custom_gradient
def _bpr_max(
    cosine: tf.Tensor, cosines: tf.Tensor, counts: tf.Tensor, temperature: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, None, None]]]:
    """Return BPR-max, [n].

    The gradient is written by hand: the one that TensorFlow derives overflows where scores are far apart.

    Args:
        cosine: [n, 1], of the targets.
        cosines: [n, m], of the negatives.
        counts: [n, m], 1 where the negative counts, else 0.
        temperature: scalar.
    """
    exponentials = tf.exp(cosines / temperature)
    weights = counts * exponentials
    pairs = counts / (tf.exp(-cosine / temperature) + 1.0 / exponentials)  # exp(r_j) sigmoid(r - r_j)
    total, pairwise = (tf.reduce_sum(values, -1, keepdims=True) for values in (weights, pairs))
    total, pairwise = (tf.where(values > 0, values, 1.0) for values in (total, pairwise))
    penalty = tf.reduce_sum(weights * cosines * cosines, -1, keepdims=True) / total
    loss = tf.math.log(total) - tf.math.log(pairwise) + REGULARIZATION * penalty

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, None, None]:
        scale = upstream[:, None] / temperature
        won = pairs / exponentials  # sigmoid(r - r_j)
        slope = REGULARIZATION * (cosines * (cosines + 2.0 * temperature) - penalty)
        by_cosines = weights / total * (1.0 + slope) - pairs / pairwise * won
        by_cosine = tf.reduce_sum(pairs * (won - 1.0), -1, keepdims=True) / pairwise
        return scale * by_cosine, scale * by_cosines, None, None

    return loss[:, 0], gradient


LOSSES: dict[str, Callable[[tf.Tensor, tf.Tensor, SampledItems, float], tf.Tensor]] = {
    "softmax": sampled_softmax,
    "bpr_max": bpr_max,
}
