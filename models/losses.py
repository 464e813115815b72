"""The loss: softmax over sampled items, corrected for how likely each was sampled (logQ)."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from models.encoder import latest


@dataclass(frozen=True)
class SampledItems:
    """The embeddings that one batch reads, each once.

    Attributes:
        rows: [r, d], normalized.
        log_expected: [r], log of how often each is expected among the negatives.
        drawn: [r], how often each is among them.
        sessions: int32 [b, length + 1], place of each session's items in `rows`.
        negatives: int32 [m], place of each negative in `rows`.
    """

    rows: tf.Tensor
    log_expected: tf.Tensor
    drawn: tf.Tensor
    sessions: tf.Tensor
    negatives: tf.Tensor


def sampled_softmax(
    states: tf.Tensor, repeats: tf.Tensor, sessions: tf.Tensor, items: SampledItems, temperature: float
) -> tf.Tensor:
    """Return the cross-entropy of every next item, [b, length].

    The sum over all items has two parts. The session's own items, whose scores gain their repeat score,
    and the target are summed exactly. All others are estimated: a negative expected e times among the
    samples counts 1/e of its exponential (logQ: Bengio & Senécal 2008, Yi et al. 2019), and what the
    exact ones add to that estimate is taken out again, so no accidental hit counts. Scores are cosines over
    a temperature, hence bounded, and no maximum needs to be subtracted.

    Args:
        states: [b, length, d], normalized.
        repeats: [b, length, length], see `SessionEncoder`.
        sessions: int32 [b, length + 1], vocabulary indices; position t is to predict t + 1. Padded
            positions get a value of no meaning: mask them.
        items: the embeddings of sessions and negatives.
        temperature: cosines are divided by it.
    """
    states = states / temperature
    inputs, targets = sessions[:, :-1], sessions[:, 1:]
    embedded = tf.gather(items.rows, items.sessions)  # [b, length + 1, d]
    drawn = tf.gather(items.drawn, items.sessions)
    log_expected = tf.gather(items.log_expected, items.sessions)

    counted = tf.cast(latest(inputs), tf.float32)
    repeated = counted * tf.cast(targets[:, :, None] == inputs[:, None, :], tf.float32)
    other = counted - repeated
    own = tf.matmul(states, embedded[:, :-1], transpose_b=True)  # [b, length, length]
    target = tf.reduce_sum(states * embedded[:, 1:], -1)

    exact = tf.reduce_sum(tf.exp(own + repeats) * other, -1)
    twice = tf.reduce_sum(tf.exp(own - log_expected[:, None, :-1]) * drawn[:, None, :-1] * other, -1)
    twice += tf.exp(target - log_expected[:, 1:]) * drawn[:, 1:]
    target += tf.reduce_sum(repeats * repeated, -1)

    estimate = _estimate(tf.reshape(states, (-1, states.shape[-1])), items)
    estimate = tf.maximum(tf.reshape(estimate, tf.shape(target)) - twice, 0.0)
    return tf.math.log(estimate + exact + tf.exp(target)) - target


def _estimate(states: tf.Tensor, items: SampledItems) -> tf.Tensor:
    """Estimate the sum of exponentials over all items: [n, d] → [n]. The costly part."""
    negatives = tf.gather(items.rows, items.negatives)
    log_expected = tf.gather(items.log_expected, items.negatives)
    return tf.reduce_sum(tf.exp(tf.matmul(states, negatives, transpose_b=True) - log_expected), axis=1)
