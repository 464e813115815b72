import numpy as np
import pytest
import tensorflow as tf

from models.layers.losses import LOSSES, REGULARIZATION, SampledItems, bpr_max, sampled_softmax
from models.options import LOSS_NAMES

pytestmark = pytest.mark.training

TEMPERATURE = 0.1


def unit(generator, *shape):
    values = generator.standard_normal(shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def sampled(rows, negatives, shares=None):
    """Return the items of a batch whose negatives are drawn by these shares; by default all alike."""
    expected = len(negatives) * (np.full(len(rows), 1 / len(rows)) if shares is None else shares)
    drawn = np.bincount(negatives, minlength=len(rows))
    return SampledItems(
        tf.constant(rows),
        tf.constant(expected.astype(np.float32)),
        tf.constant(drawn.astype(np.float32)),
        tf.constant(np.asarray(negatives, np.int32)),
    )


def slow_bpr_max(state, target, rows, negatives):
    """Return BPR-max as in the paper, in float64, for one target."""
    cosines = np.array([state @ rows[place] for place in negatives if place != target], np.float64)
    scores, score = cosines / TEMPERATURE, float(state @ rows[target]) / TEMPERATURE
    softmax = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    pairwise = (softmax / (1 + np.exp(scores - score))).sum()
    return -np.log(pairwise) + REGULARIZATION * (softmax * cosines**2).sum()


def test_bpr_max_equals_the_paper_and_the_target_is_not_its_own_negative():
    generator = np.random.default_rng(1)
    rows, states = unit(generator, 9, 4), unit(generator, 5, 4)
    targets, negatives = np.array([0, 3, 3, 8, 7]), np.array([3, 3, 5, 6, 0, 2])
    ours = bpr_max(tf.constant(states), tf.constant(targets, tf.int32), sampled(rows, negatives), TEMPERATURE)
    theirs = [slow_bpr_max(s, t, rows, negatives) for s, t in zip(states, targets, strict=True)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_bpr_max_has_the_gradient_of_its_values():
    generator = np.random.default_rng(2)
    start, way = unit(generator, 5, 8), generator.standard_normal((5, 8)).astype(np.float32)
    rows, targets = tf.Variable(unit(generator, 6, 8)), tf.constant([0, 1, 2, 2, 5])
    negatives = np.array([0, 1, 2, 3, 4, 5, 3])

    def loss(step):
        """Return the loss and its slope after states and rows moved this far in their directions."""
        states = tf.Variable(start + step * way)
        with tf.GradientTape() as tape:
            moved = rows + step * way[:1]
            items = sampled(rows.numpy(), negatives)
            items = SampledItems(moved, items.expected, items.drawn, items.negatives)
            value = tf.reduce_sum(bpr_max(states, targets, items, 0.5))
        of_states, of_rows = tape.gradient(value, (states, rows))
        return float(value), float(tf.reduce_sum(of_states * way) + tf.reduce_sum(of_rows * way[:1]))

    assert (loss(0.01)[0] - loss(-0.01)[0]) / 0.02 == pytest.approx(loss(0.0)[1], rel=2e-3)


def test_without_another_item_the_loss_is_zero():
    rows = unit(np.random.default_rng(3), 2, 4)
    states = tf.Variable(rows[:1])
    with tf.GradientTape() as tape:
        loss = bpr_max(states, tf.constant([1]), sampled(rows, [1, 1, 1]), TEMPERATURE)
    assert loss.numpy().tolist() == [0.0]
    assert not np.any(tape.gradient(loss, states))


@pytest.mark.parametrize("temperature", [0.02, 1.0])
@pytest.mark.parametrize("name", LOSS_NAMES)
def test_losses_are_finite_at_both_ends_of_the_cosine(name, temperature):
    rows = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    states = tf.Variable([[1.0, 0.0], [-1.0, 0.0]])
    with tf.GradientTape() as tape:
        loss = LOSSES[name](states, tf.constant([0, 0]), sampled(rows, [0, 1]), temperature)
    assert np.all(np.isfinite(loss)) and np.all(np.isfinite(tape.gradient(loss, states)))
    assert loss[0] < loss[1]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_sampled_softmax_estimates_the_full_softmax_for_every_alpha(alpha):
    generator = np.random.default_rng(4)
    rows, states = unit(generator, 50, 8), unit(generator, 3, 8)
    shares = np.arange(1.0, 51.0) ** alpha
    shares /= shares.sum()
    negatives = generator.choice(50, 40_000, p=shares)
    targets = np.array([0, 20, 49])
    ours = sampled_softmax(
        tf.constant(states), tf.constant(targets, tf.int32), sampled(rows, negatives, shares), 0.5
    )
    scores = states @ rows.T / 0.5
    full = np.log(np.exp(scores).sum(1)) - scores[np.arange(3), targets]
    np.testing.assert_allclose(ours, full, atol=0.02)


def test_the_options_list_every_loss():
    assert tuple(LOSSES) == LOSS_NAMES
