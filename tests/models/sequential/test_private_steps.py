"""The step of private training, against gradients of single units by plain differentiation."""

import numpy as np
import pytest
import tensorflow as tf

from models.by_name import create
from models.data.sequences import SessionLog
from models.data.vocabulary import Vocabulary
from models.options import TrainingOptions
from models.sequential.private import _negatives_of
from models.sequential.private_batches import MOST_SESSIONS, Part, PrivateBatches
from models.sequential.private_trainer import PrivateTrainer
from models.sequential.trainer import Trainer

pytestmark = pytest.mark.training

NAMES = ("attention", "gru", "transformer")
SIZE, WIDTH, CLIP = 14, 8, 0.5
OPTIONS = TrainingOptions(embedding_size=WIDTH, max_length=6, layers=2, dropout=0.0, temperature=0.3)
NEGATIVES = np.array([2, 5, 7, 9, 12], np.int32)
LOG_EXPECTED = np.log(np.array([0.5, 0.4, 0.9, 0.7, 0.2], np.float32))
# Two sessions a unit. The first unit reads an item twice and has items that are negatives too.
SESSIONS = np.array(
    [
        [[0, 3, 5, 3, 2], [0, 0, 0, 3, 4]],
        [[1, 6, 8, 10, 11], [0, 0, 0, 0, 0]],
        [[0, 0, 1, 13, 1], [0, 4, 9, 6, 3]],
    ],
    np.int32,
)
WEIGHTS = np.where(SESSIONS[:, :, :-1] > 0, 1.0, 0.0).astype(np.float32)
TRAINED = np.arange(SIZE) % 6 != 0  # rows 0, 6 and 12 keep their values


def private_trainer(name, clip=CLIP, seed=1):
    encoder = create(name, OPTIONS).make_encoder(OPTIONS)
    generator = np.random.default_rng(4)
    for weight in encoder.weights.values():  # weights that begin at 0 or 1 would hide errors
        weight.assign(weight + 0.3 * generator.standard_normal(weight.shape).astype(np.float32))
    table = generator.standard_normal((SIZE, WIDTH)).astype(np.float32)
    return PrivateTrainer(Trainer(table, encoder, OPTIONS), TRAINED, clip, seed)


def gradient_of_unit(private, sessions, weights):
    """Return one unit's gradient by each weight and by the trained rows, as one vector, by plain tape."""
    encoder, table = private.trainer.encoder, tf.Variable(private.trainer.table)
    with tf.GradientTape() as tape:
        embedded = tf.gather(table, sessions)
        states = encoder(embedded[:, :-1], tf.constant(sessions[:, :-1] > 0)) / OPTIONS.temperature
        scores = tf.reduce_sum(states * embedded[:, 1:], -1)
        others = tf.einsum("sld,md->slm", states, tf.gather(table, NEGATIVES)) - LOG_EXPECTED
        others = tf.where(np.isin(NEGATIVES, sessions), -1e9, others)
        losses = tf.math.log(tf.exp(scores) + tf.reduce_sum(tf.exp(others), -1)) - scores
        loss = tf.reduce_sum(losses * weights)
    variables = [*encoder.weights.values(), table]
    gradients = [
        tf.convert_to_tensor(gradient).numpy()
        for gradient in tape.gradient(loss, variables, unconnected_gradients="zero")
    ]
    gradients[-1] = gradients[-1][TRAINED]
    return np.concatenate([gradient.ravel() for gradient in gradients])


def clipped_sum(private, sessions=SESSIONS, weights=WEIGHTS):
    """Return the sums after one part as one vector, and the lengths of the units' gradients."""
    private.begin()
    lengths = private.add(Part(sessions, weights), NEGATIVES, LOG_EXPECTED, 0)
    sums = [*private.sums.values(), private.row_sum]
    return np.concatenate([total.numpy().ravel() for total in sums]), lengths


@pytest.fixture(scope="module", params=NAMES)
def private(request):
    """A trainer of each model, compiled once: a sum changes no weight."""
    return private_trainer(request.param)


def test_the_sum_is_that_of_the_clipped_gradients_of_single_units(private):
    alone = [gradient_of_unit(private, *unit) for unit in zip(SESSIONS, WEIGHTS, strict=True)]
    norms = np.array([np.linalg.norm(gradient) for gradient in alone])
    total, lengths = clipped_sum(private)
    assert lengths == pytest.approx(norms, rel=1e-4)
    assert norms.min() > CLIP  # all of them are clipped
    expected = sum(gradient * CLIP / norm for gradient, norm in zip(alone, norms, strict=True))
    assert total == pytest.approx(expected, abs=3e-4)


def test_a_gradient_shorter_than_the_clip_is_added_as_it_is():
    private = private_trainer("attention", clip=1e6)
    expected = sum(gradient_of_unit(private, *unit) for unit in zip(SESSIONS, WEIGHTS, strict=True))
    assert clipped_sum(private)[0] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_a_unit_more_changes_the_sum_by_the_clip_at_most(private):
    whole, _ = clipped_sum(private)
    for unit in range(len(SESSIONS)):
        fewer, _ = clipped_sum(private, np.delete(SESSIONS, unit, 0), np.delete(WEIGHTS, unit, 0))
        assert 0.9 * CLIP < np.linalg.norm(whole - fewer) <= CLIP


def test_a_unit_does_not_change_what_another_unit_adds(private):
    whole, _ = clipped_sum(private)
    alone = [clipped_sum(private, SESSIONS[u : u + 1], WEIGHTS[u : u + 1])[0] for u in range(3)]
    assert whole == pytest.approx(sum(alone), abs=1e-5)


def noise_of_a_step(private, monkeypatch, noise_multiplier, expected_units):
    """Return what a step without a unit gives to the optimizer, as one vector."""
    given = {}
    monkeypatch.setattr(
        private.trainer.adam, "apply", lambda gradients, rows, row_gradient, rate: given.update(gradients)
    )
    private.step(
        [],
        NEGATIVES,
        LOG_EXPECTED,
        noise_multiplier=noise_multiplier,
        expected_units=expected_units,
        rate=0.1,
        seed=0,
    )
    return np.concatenate([value.numpy().ravel() for value in given.values()])


def test_a_step_without_a_unit_is_noise_of_the_right_deviation(monkeypatch):
    private = private_trainer("transformer")
    noise = np.concatenate([noise_of_a_step(private, monkeypatch, 3.0, 10.0) for _ in range(20)])
    assert len(noise) > 10_000
    assert noise.std() == pytest.approx(3.0 * CLIP / 10.0, rel=0.03)
    assert abs(noise.mean()) < 4 * noise.std() / len(noise) ** 0.5


def test_the_noise_follows_from_a_given_seed_and_else_from_none(monkeypatch):
    first, second, other, secret = (
        noise_of_a_step(private_trainer("gru", seed=seed), monkeypatch, 1.0, 1.0) for seed in (5, 5, 6, None)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, secret)
    assert not np.array_equal(noise_of_a_step(private_trainer("gru", seed=None), monkeypatch, 1, 1), secret)


def test_rows_that_are_not_trained_keep_their_values():
    private = private_trainer("attention")
    before = private.trainer.table.numpy()
    private.step(
        [Part(SESSIONS, WEIGHTS)],
        NEGATIVES,
        LOG_EXPECTED,
        noise_multiplier=1.0,
        expected_units=3.0,
        rate=0.1,
        seed=0,
    )
    after = private.trainer.table.numpy()
    assert np.array_equal(before[~TRAINED], after[~TRAINED])
    assert np.abs(before - after)[TRAINED].max(1).min() > 1e-3
    assert np.linalg.norm(after, axis=1) == pytest.approx(1.0, abs=1e-5)


SHOPPERS = SessionLog.from_lists(
    [["a", "b"], ["b", "c", "d"], ["a"], ["d", "a"]] + [["a", "d"]] * 20,
    context={"user": np.array(["x", "y", "z", "x", *["many"] * 20], object)},
)


def batches_of(log, vocabulary=("a", "b", "c", "d"), max_length=10):
    return PrivateBatches(log, np.ones(log.n_events, np.float32), Vocabulary(vocabulary), max_length)


def test_all_sessions_of_a_shopper_are_in_the_step_up_to_a_bound():
    batches = batches_of(SHOPPERS)
    parts = list(batches.step(1.0, np.random.default_rng(0)))
    sessions = sorted(int((unit.sum(-1) > 0).sum()) for part in parts for unit in part.sessions)
    assert sessions == [1, 2, MOST_SESSIONS]  # z has no target
    assert (batches.kind, batches.units) == ("shopper", 4)


def test_an_item_outside_the_vocabulary_is_left_out_of_its_session():
    (part,) = batches_of(SessionLog.from_lists([["a", "unknown", "b"]]), ("a", "b")).step(
        1.0, np.random.default_rng(0)
    )
    assert part.sessions.tolist() == [[[0, 1, 2]]]
    assert part.weights.tolist() == [[[0.0, 1.0]]]


def test_a_session_keeps_its_last_items():
    (part,) = batches_of(SessionLog.from_lists([list("abcd")]), max_length=2).step(
        1.0, np.random.default_rng(0)
    )
    assert part.sessions.tolist() == [[[2, 3, 4]]]


def test_each_unit_is_in_a_step_with_the_same_probability_on_its_own():
    log = SessionLog.from_lists([["a", "b"]] * 40 + [["a", "b", "c", "d"]] * 40)
    batches, generator = batches_of(log), np.random.default_rng(1)
    sizes = np.array([[sum(len(part.sessions) for part in batches.step(0.3, generator))] for _ in range(400)])
    assert sizes.mean() == pytest.approx(24.0, abs=4 * (80 * 0.21 / 400) ** 0.5)
    assert sizes.var() == pytest.approx(80 * 0.21, rel=0.35)  # binomial: a fixed size would have none
    assert list(batches.step(0.0, generator)) == []


def test_a_negative_is_drawn_with_the_probability_that_corrects_its_logit():
    counts = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 1.0, 1.0])
    draw = _negatives_of(counts, TrainingOptions(negatives=4, alpha=1.0))
    generator, corrected, rounds = np.random.default_rng(3), np.zeros(10), 20_000
    for _ in range(rounds):
        chosen, log_probability = draw(generator)
        assert len(set(chosen)) == 4
        corrected[chosen] += np.exp(-log_probability) / rounds
    assert corrected[1:] == pytest.approx(1.0, abs=0.12)  # 1 / probability, times how often it is drawn
    assert corrected[0] == 0.0
