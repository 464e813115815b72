import numpy as np
import pytest

from models.data.items import ItemTable
from models.data.sequences import SessionLog


def objects(*values):
    return np.array(values, dtype=object)


def table():
    return ItemTable(
        objects("a", "new", "sold-out", "old"),
        {"category": objects("shoes", "hats", "hats", None), "price": np.array([5.0, np.nan, 3.0, 2.0])},
        np.array([True, True, False, False]),
    )


def log():
    log = SessionLog.from_lists([["a", "b"], ["b", "old"]], [1.0, 2.0], {"country": objects("DE", None)})
    return log.with_items(log.catalogue, {"category": objects("boots", "bags", "belts")})


def test_a_log_gets_the_features_of_its_items_and_the_items_that_join():
    described = table().describe(log(), known=())
    assert described.catalogue.tolist() == ["a", "b", "old", "new"]
    assert described.item_features["category"].tolist() == ["shoes", "bags", "belts", "hats"]
    np.testing.assert_array_equal(described.item_features["price"], [5.0, np.nan, 2.0, np.nan])


def test_an_item_that_is_not_for_sale_is_described_only_for_a_model_that_knows_it():
    described = table().describe(log(), known={"sold-out"})
    assert described.catalogue.tolist() == ["a", "b", "old", "new", "sold-out"]
    assert described.item_features["price"][-1] == 3.0


def test_the_sessions_do_not_change():
    before, described = log(), table().describe(log(), known=())
    assert list(described) == list(before)
    np.testing.assert_array_equal(described.items, before.items)
    np.testing.assert_array_equal(described.context["country"], before.context["country"])
    assert described.ids().tolist() == before.ids().tolist()


def test_an_empty_table_changes_nothing():
    described = ItemTable(objects()).describe(log(), known=())
    assert described.catalogue.tolist() == log().catalogue.tolist()
    assert described.item_features["category"].tolist() == log().item_features["category"].tolist()


def test_columns_of_another_length_are_refused():
    with pytest.raises(ValueError, match="'price' has 1 values for 2 items"):
        ItemTable(objects("a", "b"), {"price": np.ones(1)}, np.ones(2, bool))
    with pytest.raises(ValueError, match="'joins' has 0 values for 2 items"):
        ItemTable(objects("a", "b"))
