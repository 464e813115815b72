"""The loss: softmax over sampled items, corrected for how likely each was sampled (logQ)."""

from __future__ import annotations

import tensorflow as tf


def sampled_softmax(
    positive: tf.Tensor,
    states: tf.Tensor,
    negatives: tf.Tensor,
    log_expected: tf.Tensor,
    own: tf.Tensor,
    twice: tf.Tensor,
) -> tf.Tensor:
    """Return the cross-entropy of each target against shared negatives and its session's own items.

    A negative that was expected to be drawn e times among the negatives counts 1/e of its exponential, so
    the sum estimates the sum over all items (Bengio & Senécal 2008; logQ correction of Yi et al. 2019).
    Items that are counted exactly (the target, the session's own items) are taken out of the estimate: what
    they added to it comes in `twice`. Scores are cosines over a temperature, hence bounded, so no maximum
    is subtracted.

    Args:
        positive: [n], score of each target.
        states: [n, d], over the temperature.
        negatives: [m, d].
        log_expected: [m], log of how often each negative was expected among the m.
        own: [n], sum of exponentials of the session's own items, the target left out.
        twice: [n], what the target and the own items added to the estimate.

    Returns:
        [n].
    """
    logits = tf.matmul(states, negatives, transpose_b=True) - log_expected
    estimate = tf.reduce_sum(tf.exp(logits), axis=1)
    others = tf.maximum(estimate - twice, 0.0) + own
    return tf.math.log(others + tf.exp(positive)) - positive
