"""The vectors of the latest shoppers."""

import numpy as np

from models.online.shoppers import Shoppers


def filled(names, max_shoppers=3):
    shoppers = Shoppers(2, max_shoppers)
    for place, name in enumerate(names, start=1):
        shoppers.put(name, np.full(2, place, np.float32))
    return shoppers


def test_the_shopper_unseen_for_longest_leaves_first():
    shoppers = filled(["a", "b", "c", "a", "d"])  # a was seen again, b was not
    assert shoppers.names == ("c", "a", "d")
    np.testing.assert_array_equal(shoppers.of(["a", "b", "c", "d"])[:, 0], [4, 0, 3, 5])
    shoppers.put("e", np.full(2, 6, np.float32))
    assert shoppers.names == ("a", "d", "e")


def test_shoppers_keep_their_vectors_when_the_array_grows():
    names = [f"u{number}" for number in range(300)]
    shoppers = filled(names, max_shoppers=200)
    assert len(shoppers) == 200
    np.testing.assert_array_equal(shoppers.of(names)[:, 0], [0] * 100 + list(range(101, 301)))


def test_unknown_shoppers_have_zeros():
    np.testing.assert_array_equal(filled(["a"]).of([None, "", "b"]), np.zeros((3, 2)))
    assert Shoppers(2, 3).of([]).shape == (0, 2)


def test_arrays_keep_vectors_and_order():
    one, again, fewer = filled(["a", "b", "c", "a"]), Shoppers(2, 3), Shoppers(2, 2)
    again.restore(one.arrays())
    assert again.names == one.names == ("b", "c", "a")
    np.testing.assert_array_equal(again.of("abc"), one.of("abc"))
    fewer.restore(one.arrays())
    assert fewer.names == ("c", "a")
    assert again.arrays()["shoppers"].dtype.kind == "U", "no pickle"


def test_a_forgotten_shopper_leaves_no_number_and_the_others_stay():
    shoppers = filled(["a", "b", "c", "d"], max_shoppers=4)
    assert shoppers.forget({"b", "d", "unknown"}) == 2
    assert shoppers.names == ("a", "c")
    np.testing.assert_array_equal(shoppers.of("abcd")[:, 0], [1, 0, 3, 0])
    assert shoppers.forget(set()) == 0
    for place, name in enumerate("efg", start=5):
        shoppers.put(name, np.full(2, place, np.float32))
    np.testing.assert_array_equal(shoppers.of("acefg")[:, 0], [0, 3, 5, 6, 7])
