import numpy as np
import pytest

from data_contracts.features import Feature
from models.data.features import Bound, Features

pytestmark = pytest.mark.training

WANTED = (
    Feature("session", "device_type", "device_type", "category", "VARCHAR", False),
    Feature("session", "country", "country", "category", "VARCHAR", False),
    Feature("event", "dwell_ms", "dwell_ms", "number", "BIGINT", False),
    Feature("event", "price", "price", "number", "DOUBLE", False),
    Feature("session", "started_at", "occurred_at", "time", "TIMESTAMP", True),
)
COLUMNS = {
    "device_type": np.array(["mobile", "desktop", "mobile", None, ""], dtype=object),
    "price": np.array([0.0, np.e - 1, np.nan, np.nan, np.nan]),
    "country": np.array([None] * 5, dtype=object),
    "dwell_ms": np.full(5, np.nan),
    "ignored": np.arange(5),
}


USER = Feature("session", "user", "user_id", "category", "VARCHAR", False)


def read(features, columns, *shape):
    return features.reader()(columns, *shape)


def test_names_have_rows_by_frequency_and_row_0_is_for_unknown_values():
    features = Features.learn(COLUMNS, WANTED)
    assert features.names == {"device_type": ("mobile", "desktop")}
    assert features.rows == {"device_type": 3}
    assert read(features, COLUMNS, 5)["device_type"].tolist() == [1, 2, 1, 0, 0]
    others = np.array([["tablet", "desktop"], [None, "watch"]], dtype=object)
    assert read(features, {"device_type": others}, 2, 2)["device_type"].tolist() == [[0, 2], [0, 0]]


def test_columns_without_a_value_are_no_features_and_missing_columns_are_unknown():
    features = Features.learn(COLUMNS, WANTED)
    assert set(features.reader().columns) == {"device_type", "price"}
    found = read(features, {}, 2)
    assert found["device_type"].tolist() == [0, 0]
    assert found["price"].tolist() == [[0, 0], [0, 0]]
    assert not Features.learn({}, WANTED).reader().columns


def test_numbers_are_normalized_after_the_logarithm_with_a_flag_for_known_values():
    features = Features.learn(COLUMNS, WANTED)
    assert features.numbers["price"] == pytest.approx((0.5, 0.5))
    price = np.array([0.0, np.e - 1, np.nan, np.inf, -4.0])
    expected = [[-1, 1], [1, 1], [0, 0], [0, 0], [-1, 1]]
    np.testing.assert_allclose(read(features, {"price": price}, 5)["price"], expected, atol=1e-6)
    same = Features.learn({"price": np.full(3, 7.0)}, WANTED)
    assert read(same, {"price": np.full(1, 7.0)}, 1)["price"].tolist() == [[0, 1]]


def test_times_become_the_hour_and_the_weekday_from_monday():
    moments = ["1970-01-01T00:00", "2024-02-29T23:59:59", "2024-03-03T05:00", "1969-12-28T07:00"]
    seconds = np.array([np.datetime64(one).astype("datetime64[s]").astype(float) for one in moments])
    features = Features.learn({"started_at": seconds}, WANTED)
    found = read(features, {"started_at": np.append(seconds, np.nan)}, 5)
    assert found["hour"].tolist() == [1, 24, 6, 8, 0]
    assert found["weekday"].tolist() == [4, 4, 7, 7, 0]
    assert features.rows == {"hour": 25, "weekday": 8}


def test_names_are_limited_by_number_and_frequency():
    column = np.array(["a"] * 3 + ["b"] * 3 + ["c"] * 2 + ["d"], dtype=object)
    learn = lambda bound: Features.learn({"user": column}, [USER], {"user": bound}).names.get("user")  # noqa: E731
    assert learn(Bound(max_names=10, min_count=1)) == ("a", "b", "c", "d")
    assert learn(Bound(max_names=10, min_count=2)) == ("a", "b", "c")
    assert learn(Bound(max_names=1, min_count=2)) == ("a",)
    assert learn(Bound(max_names=0)) is None


def test_new_names_change_neither_old_rows_nor_statistics():
    features = Features.learn(COLUMNS, WANTED)
    later = {
        "device_type": np.array(["tv", "watch", "watch", "desktop"], dtype=object),
        "price": np.array([100.0] * 4),
        "country": np.array(["DE"] * 4, dtype=object),
    }
    grown = features.grown(later)
    assert grown.names == {"device_type": ("mobile", "desktop", "watch", "tv")}
    assert grown.numbers == features.numbers
    assert features.grown(later, {"device_type": Bound(max_names=3)}).names["device_type"][2:] == ("watch",)
    assert features.grown({}) == features


def test_features_are_stored_as_json():
    features = Features.learn(COLUMNS | {"started_at": np.zeros(5)}, WANTED)
    array = features.to_array()
    assert array.dtype.kind == "U"
    assert Features.from_array(array) == features
    assert Features.from_array(Features().to_array()) == Features()


def test_each_model_gets_its_own_inputs_from_the_features_of_several_models():
    first = Features(
        {"device_type": ("mobile", "desktop"), "country": ("DE",)}, {"price": (1.0, 2.0)}, ("started_at",)
    )
    second = Features({"device_type": ("watch", "mobile")}, {"price": (0.5, 0.25), "dwell_ms": (0.0, 1.0)})
    merged = Features.merged([first, second, Features()])
    columns = {
        "device_type": np.array(["mobile", "watch", "desktop", "tv", None], object),
        "country": np.array(["DE", "FR", None, "DE", ""], object),
        "price": np.array([1.0, 20.0, np.nan, 0.0, -5.0]),
        "dwell_ms": np.array([1.0, np.nan, 3.0, 4.0, 5.0]),
        "started_at": np.array([0.0, 3600.0, np.nan, 1e9, 1.7e9]),
    }
    inputs = read(merged, columns, 5)
    for features in (first, second, Features()):
        own, expected = features.translated(inputs, merged), read(features, columns, 5)
        assert own.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(own[name], values, atol=1e-5)
    assert first.translated({}, merged) == {}
