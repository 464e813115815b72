"""Our clipped gradients and our accounting against TensorFlow Privacy, an implementation by other authors.

TensorFlow Privacy cannot stand beside Airflow's libraries, so it runs in an environment of its own.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lastaisle.environments.environment import python_of
from models.private.accounting import epsilon_of
from models.private.mechanism import Mechanism

pytestmark = [pytest.mark.service, pytest.mark.training, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[3]
TRAININGS = np.array([[0.01, 1.0, 1000, 1e-6], [0.05, 2.0, 200, 1e-5], [0.02, 0.8, 300, 1e-6]])


def arrays():
    """Return a small model, the batch of seven units with four places each, and the clip."""
    generator = np.random.default_rng(8)
    return {
        "table": generator.standard_normal((9, 4)).astype(np.float32),
        "kernel": generator.standard_normal((4, 6)).astype(np.float32),
        "bias": generator.standard_normal(6).astype(np.float32),
        "rows": generator.integers(0, 9, (7, 4)).astype(np.int32),
        "labels": generator.integers(0, 6, (7, 4)).astype(np.int32),
        "clip": np.array(8.5),
        "trainings": TRAININGS,
    }


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cross_check")
    np.savez(folder / "given.npz", **arrays())
    python = python_of("tensorflow_privacy", ROOT / ".cache" / "environments")
    script = Path(__file__).with_name("by_tensorflow_privacy.py")
    done = subprocess.run(
        [python, script, folder / "given.npz", folder / "answers.npz"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS"))},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "answers.npz") as sums:
        return dict(sums), json.loads((folder / "answers.json").read_text())


def our_sums():
    """Return the clipped sums by the functions with which we train, and the lengths before."""
    import tensorflow as tf

    from models.layers.blocks import linear, shifted
    from models.layers.private_gradients import WeightUse, clip_factors
    from models.layers.recorded import recorded, recording

    given = arrays()
    weights = {name: tf.Variable(given[name]) for name in ("table", "kernel", "bias")}
    with tf.GradientTape(watch_accessed_variables=False) as tape, recording(tape) as recorder:
        read = tf.gather(weights["table"], given["rows"])
        read = recorded("rows", weights["table"], tf.constant(given["rows"]), read)
        logits = shifted(linear(read, weights["kernel"]), weights["bias"])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=given["labels"], logits=logits)
        loss = tf.reduce_sum(losses)
    records = {name: recorder.records[weight.ref()] for name, weight in weights.items()}
    gradients = tape.gradient(loss, {name: [one.tap for one in found] for name, found in records.items()})
    uses = {name: WeightUse(weights[name], records[name], gradients[name], 7) for name in weights}
    squares = tf.add_n([use.squared_norms() for use in uses.values()])
    factors = clip_factors(squares, float(given["clip"]) / (1.0 - 1e-4))  # without the margin for rounding
    return {name: use.weighted_sum(factors).numpy() for name, use in uses.items()}, np.sqrt(squares)


def test_the_clipped_sums_are_those_of_tensorflow_privacy(answers):
    theirs, (ours, lengths) = answers[0], our_sums()
    clip = float(arrays()["clip"])
    assert lengths.min() < clip < lengths.max()  # some units are clipped, some are not
    whole = np.concatenate([gradient.ravel() for gradient in theirs.values()])
    found = np.concatenate([ours[name].ravel() for name in theirs])
    assert found == pytest.approx(whole, rel=1e-5, abs=2e-5)
    assert np.linalg.norm(found - whole) < 1e-6 * np.linalg.norm(whole)  # both add in float32


def test_epsilon_is_that_of_tensorflow_privacy(answers):
    for (rate, noise, steps, delta), theirs in zip(TRAININGS, answers[1], strict=True):
        ours = epsilon_of([Mechanism("session", rate, noise, int(steps), 1.0, 10_000)], delta)
        assert ours.rdp == pytest.approx(theirs["rdp"], abs=1e-3)
        assert ours.pld == pytest.approx(theirs["pld"], abs=1e-2)  # our grid is coarser, so we are above
        assert ours.pld >= theirs["pld"] - 1e-3
        said = re.search(r"Poisson sampling[^:]*:\s+([0-9.]+)", theirs["statement"])
        assert said is not None
        assert ours.rdp == pytest.approx(float(said[1]), abs=5e-3)  # their text has three digits
