import numpy as np
import pytest

from models.data.vocabulary import Vocabulary


def test_unknown_items_are_zero():
    vocabulary = Vocabulary(["a", "b"])
    assert vocabulary.encode(["b", "z", "a"]).tolist() == [2, 0, 1]
    assert len(vocabulary) == 2
    assert "" not in vocabulary


def test_new_items_do_not_move_old_rows():
    before = Vocabulary(["a", "b"], np.array([0, 5.0, 3.0]))
    after = before.grow(["c", "a", "d", "c"])
    assert after.encode(["a", "b", "c", "d"]).tolist() == [1, 2, 3, 4]
    assert after.counts.tolist() == [0, 5, 3, 0, 0]
    assert len(before) == 2


def test_a_loaded_vocabulary_equals_the_saved_one(tmp_path):
    vocabulary = Vocabulary(["ä", 'q"'], np.array([0, 1.5, 2.5]))
    vocabulary.save(tmp_path / "vocabulary.json")
    loaded = Vocabulary.load(tmp_path / "vocabulary.json")
    assert list(loaded.ids) == ["", "ä", 'q"']
    assert loaded.counts.tolist() == [0, 1.5, 2.5]


def test_popular_items_come_first_and_ties_keep_their_order():
    assert Vocabulary("abcd", np.array([0, 1.0, 3.0, 1.0, 9.0])).popular(3).tolist() == [4, 2, 1]


def test_duplicate_items_and_wrong_counts_are_refused():
    with pytest.raises(ValueError, match="distinct"):
        Vocabulary(["a", "a"])
    with pytest.raises(ValueError, match="shape"):
        Vocabulary(["a"], np.zeros(5))
