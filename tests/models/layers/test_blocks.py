import numpy as np
import pytest
import tensorflow as tf

from models.layers.blocks import linear

pytestmark = pytest.mark.training


def test_linear_and_its_gradient_equal_the_matrix_product():
    values, weight = tf.random.stateless_normal((3, 4, 5), (1, 2)), tf.random.stateless_normal((5, 6), (3, 4))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([values, weight])
        ours, plain = linear(values, weight), values @ weight
    assert ours.shape == (3, 4, 6)
    np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)
    for found, expected in zip(
        tape.gradient(ours, (values, weight)), tape.gradient(plain, (values, weight)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
