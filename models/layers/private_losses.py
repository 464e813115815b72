"""The gradients of the sampled softmax in private training: apart for each place and each negative.

They are written by hand. Private training needs the gradient by each logit, and arrays of logits are what a
step spends its time on: here each of them is read four times, where TensorFlow's own gradients read it more
than ten times.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.tensorflow_import import tf


@dataclass(frozen=True)
class Negatives:
    """Items against which targets are judged.

    Attributes:
        items: int32 [m], distinct; never the padding.
        rows: [m, d], their normalized embeddings.
        log_expected: [m], the logarithm of the probability of each to be drawn.
    """

    items: tf.Tensor
    rows: tf.Tensor
    log_expected: tf.Tensor


@dataclass(frozen=True)
class SoftmaxGradients:
    """The gradients of the sum of all losses; u is the number of units, p that of a unit's places.

    Attributes:
        by_states: [u, p, d].
        by_targets: [u, p, d], by the embeddings of the targets.
        by_logits: [u, p, m], by the logits of the negatives whose rows are trained.
    """

    by_states: tf.Tensor
    by_targets: tf.Tensor
    by_logits: tf.Tensor


def softmax_gradients(
    states: tf.Tensor,
    targets: tf.Tensor,
    weights: tf.Tensor,
    own: tf.Tensor,
    *,
    trained: Negatives,
    frozen: Negatives,
    temperature: float,
) -> SoftmaxGradients:
    """Return the gradients of the sum of the weighted losses.

    A loss is the cross-entropy of a target among all items, estimated as `sampled_softmax` does, but a
    negative that is an item of the unit itself is left out. So the loss of a unit depends on no other unit,
    and no row of an item gets a gradient both as a unit's own and as its negative.

    Args:
        states: [u, p, d], normalized and then divided by the temperature.
        targets: [u, p, d], normalized.
        weights: [u, p], of the targets; 0 = no target.
        own: int32 [u, o], the items of each unit; 0 = padding.
        trained: the negatives whose rows are trained.
        frozen: the other negatives.
        temperature: the scores lie between -1 / temperature and 1 / temperature.
    """
    shape, size = tf.shape(states), states.shape[-1]
    # Half of the largest score is taken from each, so that no exponential of a score is 0 or infinite.
    shift = 0.5 / temperature
    positive = tf.exp(tf.reduce_sum(states * targets, -1, keepdims=True) - shift)
    flat = tf.reshape(states, (-1, size))
    by_trained, by_frozen = (_exponentials(flat, drawn, own, shape[1], shift) for drawn in (trained, frozen))
    others = tf.reduce_sum(by_trained, 1) + tf.reduce_sum(by_frozen, 1)
    scale = weights[:, :, None] / (positive + tf.reshape(others, (shape[0], -1, 1)))
    scale_of_place = tf.reshape(scale, (-1, 1))
    by_logits = by_trained * scale_of_place
    by_score = positive * scale - weights[:, :, None]
    from_negatives = tf.matmul(by_logits, trained.rows) + scale_of_place * tf.matmul(by_frozen, frozen.rows)
    return SoftmaxGradients(
        tf.reshape(from_negatives, shape) + by_score * targets,
        by_score * states,
        tf.reshape(by_logits, (shape[0], shape[1], tf.size(trained.items))),
    )


def _exponentials(
    states: tf.Tensor, negatives: Negatives, own: tf.Tensor, places: tf.Tensor, shift: float
) -> tf.Tensor:
    """Return exp(score - shift) / (probability to be drawn), [u * p, m]; 0 for an item of the unit itself.

    Args:
        states: [u * p, d].
        negatives: the m items.
        own: see `softmax_gradients`.
        places: p.
        shift: see the formula.
    """
    # One more column of states and of rows, so that the product subtracts the constant of each item.
    longer = tf.concat([states, tf.ones_like(states[:, :1])], 1)
    rows = tf.concat([negatives.rows, -(negatives.log_expected + shift)[:, None]], 1)
    exponentials = tf.exp(tf.matmul(longer, rows, transpose_b=True))
    known = tf.maximum(tf.reduce_max(own), tf.reduce_max(tf.concat([negatives.items, [0]], 0))) + 1
    numbers = tf.range(1, tf.size(negatives.items) + 1)
    column = tf.gather(tf.scatter_nd(negatives.items[:, None], numbers, [known]), own) - 1  # [u, o]
    found = tf.where(column >= 0)
    place = tf.cast(found[:, :1], tf.int32) * places + tf.range(places)[None, :]  # [r, p]
    at = tf.stack([place, tf.broadcast_to(tf.gather_nd(column, found)[:, None], tf.shape(place))], -1)
    at = tf.reshape(at, (-1, 2))
    return tf.tensor_scatter_nd_update(exponentials, at, tf.zeros(tf.shape(at)[0]))
