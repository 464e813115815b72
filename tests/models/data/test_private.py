from dataclasses import replace

import numpy as np
import pytest

from models.data.private import Units, few_parts, noisy_vocabulary
from models.data.sequences import SessionLog
from models.data.vocabulary import Vocabulary

OFTEN = 4000
LOG = SessionLog.from_lists([["b", "a"]] * OFTEN + [["rare", "b"]])


def vocabulary_of(log, *, known=None, public=None, memory=0.5, noise=2.0, seed=0, weights=None):
    return noisy_vocabulary(
        log,
        np.ones(len(log), np.float32) if weights is None else weights,
        known or Vocabulary(),
        public,
        memory=memory,
        noise=noise,
        delta=1e-7,
        generator=np.random.default_rng(seed),
    )


def test_units_are_shoppers_and_sessions_without_a_shopper():
    log = SessionLog.from_lists([["a"]] * 4, context={"user": np.array(["x", None, "x", "y"], object)})
    units = Units.of(log)
    assert (units.kind, units.count, units.of_session.tolist()) == ("shopper", 3, [0, 1, 0, 2])


def test_units_are_sessions_where_no_shopper_is_known():
    units = Units.of(SessionLog.from_lists([["a"]] * 3))
    assert (units.kind, units.count, units.of_session.tolist()) == ("session", 3, [0, 1, 2])


def test_an_item_of_one_unit_does_not_join_the_vocabulary():
    vocabulary, release = vocabulary_of(LOG)
    assert vocabulary.ids.tolist() == ["", "a", "b"]
    assert vocabulary.counts[1:] == pytest.approx(OFTEN * 0.5**0.5, rel=0.01)
    assert (release.noise_multiplier, release.delta) == (2.0, 1e-7)


def test_new_items_stand_in_the_order_of_their_ids_and_not_of_the_sessions():
    assert (
        vocabulary_of(LOG)[0].ids.tolist() == vocabulary_of(LOG.select(slice(None, None, -1)))[0].ids.tolist()
    )


def test_public_items_join_without_an_event_and_cost_no_delta():
    vocabulary, release = vocabulary_of(LOG, public=["a", "b", "unseen"])
    assert vocabulary.ids.tolist() == ["", "a", "b", "unseen"]
    assert release.delta == 0.0


def test_a_known_item_stays_with_its_decayed_count():
    known = Vocabulary(["old"], np.array([0.0, 1000.0]))
    vocabulary, _ = vocabulary_of(LOG, known=known)
    assert vocabulary.ids[1] == "old"
    assert vocabulary.counts[1] == pytest.approx(500.0, abs=12.0)


def test_many_sessions_of_one_shopper_count_like_one():
    log = replace(LOG, context={"user": np.array(["x"] * len(LOG), object)})
    vocabulary, _ = vocabulary_of(log, public=["a", "b"], noise=0.01)
    assert vocabulary.counts[1:] == pytest.approx([2**-0.5] * 2, abs=0.1)


def test_the_counts_are_noisy():
    first, second = (vocabulary_of(LOG, seed=seed)[0].counts for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_a_unit_keeps_few_cells_by_random_choice():
    unit, cell = np.repeat([0, 1], 30), np.tile(np.arange(10), 6)
    chosen = set()
    for seed in range(40):
        few = few_parts((unit, cell, np.ones(60)), 4, np.random.default_rng(seed))
        for each in (0, 1):
            cells = few[1][few[0] == each]
            assert len(set(cells)) == 4
            assert len(cells) == 12  # every event of a chosen item stays
        chosen |= set(few[1])
    assert chosen == set(range(10))
