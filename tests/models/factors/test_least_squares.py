import numpy as np
import pytest

from models.factors import least_squares
from models.factors.least_squares import Observations, loss, solve


def test_observations_add_repeated_pairs_and_leave_out_zeros():
    rows, columns = np.array([5, 2, 5, 5, 2]), np.array([1, 3, 1, 0, 4])
    seen = Observations.of(rows, columns, np.array([1.0, 2.0, 0.5, 3.0, 0.0]))
    assert seen.rows.tolist() == [2, 5]
    assert seen.offsets.tolist() == [0, 1, 3]
    assert seen.columns.tolist() == [3, 0, 1]
    assert seen.weights.tolist() == [2.0, 3.0, 1.5]
    back = seen.transposed()  # columns are places in seen.rows
    assert (back.rows.tolist(), back.columns.tolist()) == ([0, 1, 3], [1, 1, 0])
    assert back.weights.tolist() == [3.0, 1.5, 2.0]


def test_one_row_by_hand():
    # With the prior 0, x = 2·3 / (4 + 2·9) = 3/11 minimizes 2 (1 - 3x)² + 4 x².
    # With the prior 1, x = (2·3 + 4) / 22 = 5/11 minimizes 2 (1 - 3x)² + 4 (x - 1)².
    seen = Observations.of(np.array([0]), np.array([0]), np.array([2.0]))
    factors, precision = np.array([[3.0]]), np.array([[4.0]])
    assert solve(seen, factors, precision, np.zeros((1, 1))) == pytest.approx(3 / 11)
    assert solve(seen, factors, precision, np.ones((1, 1))) == pytest.approx(5 / 11)
    assert loss(seen, np.array([[3 / 11]]), factors) == pytest.approx((2 / 11) ** 2)


@pytest.mark.parametrize("at_once", [1 << 22, 200])
def test_short_and_long_rows_solve_the_same_equations(monkeypatch, at_once):
    monkeypatch.setattr(least_squares, "NUMBERS_AT_ONCE", at_once)
    generator = np.random.default_rng(1)
    factors, width = generator.standard_normal((30, 6)), 6
    columns = [generator.permutation(30)[:count] for count in (1, 2, 3, 6, 7, 9, 20, 30, 1, 4)]
    rows = np.repeat(np.arange(10), [len(one) for one in columns])
    flat = np.concatenate(columns)
    weights = generator.random(len(flat)) + 0.1
    root = generator.standard_normal((width, width))
    precision, prior = root @ root.T + np.eye(width), generator.standard_normal((10, width))
    solved = solve(Observations.of(rows, flat, weights), factors, precision, prior)
    for row in range(10):
        y, c = factors[flat[rows == row]], weights[rows == row]
        expected = np.linalg.solve(precision + (y.T * c) @ y, y.T @ c + precision @ prior[row])
        np.testing.assert_allclose(solved[row], expected, rtol=1e-8)


def test_without_observations_nothing_is_solved():
    none = np.zeros(0, np.int64)
    seen = Observations.of(none, none, np.zeros(0))
    assert solve(seen, np.ones((3, 2)), np.eye(2), np.zeros((0, 2))).shape == (0, 2)
    assert loss(seen, np.zeros((0, 2)), np.ones((3, 2))) == 0.0
