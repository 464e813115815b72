"""Clipped gradients and epsilon by TensorFlow Privacy. Runs in the environment tensorflow_privacy.

Arguments: a file of arrays, and the file for the answers. See test_cross_check.py.
"""

import json
import sys
from pathlib import Path

import dp_accounting
import numpy as np
import tensorflow as tf
import tensorflow_privacy

given = dict(np.load(sys.argv[1]))
table, kernel, bias = (tf.Variable(given[name]) for name in ("table", "kernel", "bias"))
units = len(given["rows"])
optimizer = tensorflow_privacy.DPKerasSGDOptimizer(
    l2_norm_clip=float(given["clip"]), noise_multiplier=0.0, num_microbatches=units, learning_rate=1.0
)
with tf.GradientTape(persistent=True) as tape:
    logits = tf.einsum("upd,dm->upm", tf.gather(table, given["rows"]), kernel) + bias
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=given["labels"], logits=logits)
    by_unit = tf.reduce_sum(losses, 1)
means = optimizer._compute_gradients(by_unit, [table, kernel, bias], tape=tape)
sums = {
    name: gradient.numpy() * units
    for name, (gradient, _) in zip(("table", "kernel", "bias"), means, strict=True)
}
np.savez(sys.argv[2], **sums)

orders = [1 + x / 10.0 for x in range(1, 100)] + list(range(11, 64)) + [128, 256, 512, 1024]
answers = []
for rate, noise, steps, delta in given["trainings"]:
    event = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise)), int(steps)
    )
    rdp = dp_accounting.rdp.RdpAccountant(orders).compose(event).get_epsilon(delta)
    pld = dp_accounting.pld.PLDAccountant().compose(event).get_epsilon(delta)
    statement = tensorflow_privacy.compute_dp_sgd_privacy_statement(
        number_of_examples=10_000,
        batch_size=round(10_000 * rate),
        num_epochs=int(steps) * rate,
        noise_multiplier=noise,
        delta=delta,
        used_microbatching=False,
    )
    answers.append({"rdp": rdp, "pld": pld, "statement": statement})
Path(sys.argv[2]).with_suffix(".json").write_text(json.dumps(answers))
