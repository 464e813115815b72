import numpy as np
import pytest

from models.private.counts import noisy_cells, noisy_sums, threshold_for, unit_vectors
from models.private.mechanism import MechanismError


def parts(*triples):
    unit, cell, weight = zip(*triples, strict=True)
    return np.array(unit), np.array(cell), np.array(weight, float)


def test_the_cells_of_a_unit_share_a_vector_of_length_1():
    unit, cell, weight = unit_vectors(*parts((0, 5, 1), (0, 5, 1), (0, 7, 1), (1, 5, 1)))
    assert unit.tolist() == [0, 0, 1]
    assert cell.tolist() == [5, 7, 5]
    assert weight == pytest.approx([0.5**0.5, 0.5**0.5, 1.0])


def test_a_unit_that_weighs_less_has_a_shorter_vector():
    _, _, weight = unit_vectors(*parts((0, 1, 0.3), (0, 2, 0.4)))
    assert weight == pytest.approx([0.4 * 0.6, 0.4 * 0.8])  # the norm of (0.3, 0.4) is 0.5, and becomes 0.4


def test_a_weight_above_1_counts_as_1():
    _, _, weight = unit_vectors(*parts((0, 1, 50.0)))
    assert weight.tolist() == [1.0]


def test_no_unit_has_no_parts():
    assert [len(part) for part in unit_vectors(*(np.zeros(0, int), np.zeros(0, int), np.zeros(0)))] == [
        0,
        0,
        0,
    ]


def test_a_unit_more_changes_the_sums_by_a_vector_of_length_1_at_most():
    generator = np.random.default_rng(1)
    unit = np.repeat(np.arange(50), 6)
    cell, weight = generator.integers(0, 20, 300), generator.random(300) * 1.5
    whole, fewer = (
        noisy_sums(*unit_vectors(unit[rows], cell[rows], weight[rows])[1:], 20, 0.0, generator)
        for rows in (slice(None), unit != 17)
    )
    assert 0.0 < np.linalg.norm(whole - fewer) <= 1.0 + 1e-12


def test_the_noise_has_its_standard_deviation_in_every_cell():
    none = np.zeros(0, int)
    sums = noisy_sums(none, none.astype(float), 40_000, 3.0, np.random.default_rng(2))
    assert sums.std() == pytest.approx(3.0, rel=0.02)
    assert abs(sums.mean()) < 4 * 3.0 / 200


def test_the_threshold_hides_the_cells_that_one_unit_has():
    """Simulated: of units with the most cells, as many show one as delta allows, or fewer."""
    noise, delta, cells = 2.0, 0.05, 8
    threshold = threshold_for(noise, delta, cells)
    generator = np.random.default_rng(3)
    shown = (1 / cells**0.5 + generator.normal(0, noise, (20_000, cells)) > threshold.value).any(1).mean()
    alone = (1.0 + generator.normal(0, noise, 20_000) > threshold.value).mean()
    assert 0 < shown <= delta
    assert 0 < alone <= delta


def test_a_delta_outside_its_bounds_is_refused():
    with pytest.raises(MechanismError, match="delta cannot be 0"):
        threshold_for(1.0, 0.0, 4)


def test_many_cells_have_the_same_noise_as_if_each_were_drawn():
    """Compared with noise in every cell: how many cells pass, their mean value, and a cell with a weight."""
    cells, noise, least = 50_000, 1.5, 4.0
    cell, weight = np.array([7, 7, 9]), np.array([4.0, 4.0, 0.5])
    dense, sparse = [], []
    for seed in range(20):
        every = noisy_sums(cell, weight, cells, noise, np.random.default_rng(seed))
        dense.append(every[every >= least])
        generator = np.random.default_rng(100 + seed)
        found, values = noisy_cells(cell, weight, cells, noise=noise, least=least, generator=generator)
        assert 7 in found  # 8 is 2.7 deviations above the threshold
        assert len(set(found)) == len(found) and found.tolist() == sorted(found)
        assert values.min() >= least
        sparse.append(values)
    assert np.mean([len(each) for each in sparse]) == pytest.approx(
        np.mean([len(each) for each in dense]), rel=0.05
    )
    assert np.concatenate(sparse).mean() == pytest.approx(np.concatenate(dense).mean(), rel=0.01)
