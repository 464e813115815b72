"""Sessions of different kinds end up in different clusters, each with the others of its kind."""

import numpy as np
import pytest

from lastaisle.training.similar import cluster, describe_clusters, draw_clusters
from models.data.sequences import SessionLog

SHELF = 12


def sessions_of(shelf, count, generator):
    return [[f"{shelf}-{item}" for item in generator.choice(SHELF, 4, replace=False)] for _ in range(count)]


@pytest.fixture
def log():
    generator = np.random.default_rng(3)
    return SessionLog.from_lists(
        [session for shelf in "abc" for session in sessions_of(shelf, 60, generator)]
    )


def mask(log, abandoned):
    return np.isin(np.arange(len(log)), list(abandoned))


def test_each_cluster_brings_sessions_of_its_own_shelf(log):
    abandoned = mask(log, [*range(10), *range(60, 70)])
    found = cluster(log, abandoned, seed=1)
    shelf_of = np.repeat(["a", "b", "c"], 60)
    of_cluster = {}
    for row, label in zip(np.flatnonzero(abandoned), found.of_abandoned, strict=True):
        of_cluster.setdefault(label, set()).add(shelf_of[row])
    assert all(len(shelves) == 1 for shelves in of_cluster.values())
    for row, label in zip(found.similar, found.of_similar, strict=True):
        assert shelf_of[row] in of_cluster[label]
    assert "c" not in shelf_of[found.similar]
    assert set(shelf_of[found.similar]) == {"a", "b"}


def test_abandoned_sessions_are_never_similar(log):
    abandoned = mask(log, range(10))
    found = cluster(log, abandoned, seed=1)
    assert len(found.similar)
    assert not set(found.similar) & set(range(10))


def test_similar_sessions_are_bounded_in_number_and_the_most_alike_come_first():
    log = SessionLog.from_lists([["x", "y"]] * 50 + [["x", "z"]] * 50)
    abandoned = mask(log, [0, 1])
    found = cluster(log, abandoned, seed=1)
    assert len(found.similar) == 10
    assert set(found.similar) <= set(range(2, 50)), "those with the same items"


def test_the_same_sessions_give_the_same_clusters(log):
    first, second = (cluster(log, mask(log, range(0, 180, 9)), seed=5) for _ in range(2))
    assert np.array_equal(first.similar, second.similar)
    assert np.array_equal(first.of_abandoned, second.of_abandoned)


def test_a_shop_with_one_item_has_one_cluster():
    log = SessionLog.from_lists([["only"]] * 5)
    abandoned = mask(log, [0])
    found = cluster(log, abandoned, seed=1)
    assert (len(found), sorted(found.similar)) == (1, [1, 2, 3, 4])


def test_clusters_are_described_and_drawn(log):
    abandoned = mask(log, [*range(10), *range(60, 70)])
    found = cluster(log, abandoned, seed=1)
    told = describe_clusters(log, abandoned, found)
    assert sum(each["abandoned"] for each in told) == 20
    assert sum(each["similar"] for each in told) == len(found.similar)
    for each in told:
        assert len({item[0] for item in each["items"]}) == 1
    axes = draw_clusters(told).axes[0]
    assert len(axes.get_yticklabels()) == len(told)
