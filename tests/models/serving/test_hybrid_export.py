from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from time import tzset

import numpy as np
import pandas as pd
import pytest

from models.by_name import create
from models.data.sequences import Context
from models.serving.export import package
from tests.models.sequential.test_hybrid import SMALL, shop

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def recommender():
    model = create("hybrid", SMALL.but(epochs=2))
    model.fit(shop(200, 1))
    return model


@pytest.fixture(scope="module")
def served(recommender, tmp_path_factory):
    import mlflow

    folder = tmp_path_factory.mktemp("packed")
    mlflow.pyfunc.save_model(str(folder / "model"), **package(recommender, folder / "files"))
    return mlflow.pyfunc.load_model(str(folder / "model"))


ITEMS = [["i1", "i2"], ["what", "i3"], [], ["i4"]]
TYPES = [["item_viewed", "item_added"], ["item_added", "item_viewed"], [], None]
CONTEXT = {
    "user": ["u1", None, "u2", "nobody"],
    "device_type": ["mobile", "desktop", "mobile", None],
    "started_at": [1.7e9, 1.7e9 + 40_000, 1.7e9, None],
    "event_type": TYPES,
    "dwell_ms": [[1000, None], [5.0, 2000.0], [], None],
}


def scores(served, **columns):
    answer = served.predict(pd.DataFrame({"items": ITEMS, **columns}), params={"k": 100})
    return [
        dict(zip(ids, values, strict=True))
        for ids, values in zip(answer["items"], answer["scores"], strict=True)
    ]


def test_the_packed_model_reads_columns_as_the_model_reads_its_context(served, recommender):
    found = scores(served, **CONTEXT)
    encode = recommender.vocabulary.encode
    sessions = {name: np.array(CONTEXT[name], dtype=object) for name in ("user", "device_type")}
    sessions["started_at"] = np.array(CONTEXT["started_at"], dtype=float)
    nothing = [None, None]
    events = {
        "event_type": np.array([TYPES[0], [None, "item_viewed"], nothing, nothing], dtype=object),
        "dwell_ms": np.array([[1000, np.nan], [np.nan, 2000], [np.nan] * 2, [np.nan] * 2]),
    }
    prefixes = np.array([encode(["i1", "i2"]), [0, *encode(["i3"])], [0, 0], [0, *encode(["i4"])]], np.int32)
    expected = recommender.scores(prefixes, Context(sessions, events))
    for row in (0, 1, 3):
        of_items = dict(zip(recommender.vocabulary.ids, expected[row], strict=True))
        assert len(found[row]) == len(recommender.vocabulary)
        for item, score in found[row].items():
            assert score == pytest.approx(of_items[item], abs=1e-4)
    popular = recommender.vocabulary.decode(recommender.vocabulary.popular(3))
    assert list(found[2])[:3] == list(popular)


@pytest.mark.parametrize("left_out", ["device_type", "user", "started_at", "event_type", "dwell_ms"])
def test_every_column_changes_the_scores(served, left_out):
    whole = scores(served, **CONTEXT)
    without = scores(served, **{name: values for name, values in CONTEXT.items() if name != left_out})
    assert any(abs(whole[0][item] - without[0][item]) > 1e-6 for item in whole[0])


def test_missing_columns_and_unknown_columns_are_accepted(served, recommender):
    plain = scores(served)
    ids, values = recommender.recommend([["i1", "i2"]], k=100)
    assert list(plain[0]) == ids[0]
    np.testing.assert_allclose(list(plain[0].values()), values[0], atol=1e-4)
    assert scores(served, country=["DE"] * 4, weather=["rain"] * 4) == plain
    gaps = scores(served, device_type=[None, np.nan, "a new one", ""], event_type=[None] * 4)
    assert [one.keys() for one in gaps] == [one.keys() for one in plain]
    np.testing.assert_allclose(list(gaps[0].values()), list(plain[0].values()), atol=1e-5)


@pytest.mark.parametrize(
    "time",
    [
        pd.Timestamp(1.7e9, unit="s", tz="UTC"),
        pd.Timestamp(1.7e9, unit="s"),
        datetime.fromtimestamp(1.7e9, UTC),
        datetime.fromtimestamp(1.7e9, timezone(timedelta(hours=5))),
        datetime.fromtimestamp(1.7e9, UTC).replace(tzinfo=None),
        "2023-11-14T22:13:20Z",
        "2023-11-14 22:13:20",
        "2023-11-15T03:13:20.000+05:00",
        "20231114T221320",
        np.datetime64(1_700_000_000, "s"),
        np.datetime64(1_700_000_000_000_000_000, "ns"),
        Decimal("1.7e9"),
        "1700000000",
        1_700_000_000,
    ],
)
def test_times_may_be_timestamps_in_utc_whatever_the_zone_of_the_service(served, time, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    tzset()
    try:
        assert scores(served, started_at=[time] * 4) == scores(served, started_at=[1.7e9] * 4)
    finally:
        monkeypatch.undo()
        tzset()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("items", ["i1", Decimal("5")], r"items should be .*, received Decimal\('5'\)"),
        ("items", "i1", "items should be a list, received 'i1'"),
        ("user", 5, "user should be a text, received 5"),
        ("user", Decimal("sNaN"), "user should be a text, received Decimal"),
        ("user", pd.Series(["u1"]), "user should be a text, received 0    u1"),
        ("device_type", ["mobile"], r"device_type should be a text, received \['mobile'\]"),
        ("device_type", b"mobile", "device_type should be a text, received b'mobile'"),
        ("started_at", "2026-01-02", "started_at should be a time .*, received '2026-01-02'"),
        ("started_at", "2026-W01-5", "started_at should be a time .*, received '2026-W01-5'"),
        ("started_at", "2026-01-02T25:00", "started_at should be a time .*, received '2026-01-02T25:00'"),
        ("started_at", "12:00:00", "started_at should be a time .*, received '12:00:00'"),
        ("dwell_ms", ["2026-01-02T12:00:00Z", 1], "dwell_ms should be a number, received '2026-01-02T12"),
        ("started_at", "yesterday", "started_at should be a time .*, received 'yesterday'"),
        ("started_at", date(2026, 1, 2), "started_at should be a time .*, received datetime.date"),
        ("started_at", timedelta(5), "started_at should be a time .*, received .*imedelta"),
        ("started_at", True, "started_at should be a time .*, received True"),
        ("started_at", b"1.7e9", "started_at should be a time .*, received b'1.7e9'"),
        ("started_at", [1.7e9], r"started_at should be a time .*, received \[1700000000.0\]"),
        ("started_at", 1.7e12, "started_at should be a time .* seconds .*, received 1700000000000.0"),
        ("started_at", 10**400, "started_at should be a time .*, received 1000.*0…"),
        ("event_type", [5, None], "event_type should be a text, received 5"),
        ("event_type", {"item_viewed": 1}, "event_type should be a list, received {"),
        ("event_type", {"a", "b"}, "event_type should be a list, received {"),
        ("event_type", [["item_viewed"], None], r"event_type should be a text, received \['item_viewed'\]"),
        ("dwell_ms", [np.True_, 1], "dwell_ms should be a number, received .*True"),
        ("dwell_ms", ["a", 1], "dwell_ms should be a number, received 'a'"),
        ("dwell_ms", [datetime(2026, 1, 2), 1], "dwell_ms should be a number, received .*2026"),
        ("dwell_ms", [1j, 1], "dwell_ms should be a number, received 1j"),
        ("dwell_ms", 5, "dwell_ms should be a list, received 5"),
    ],
)
def test_an_unreadable_value_is_an_error_with_its_row_its_column_and_itself(served, column, value, message):
    frame = pd.DataFrame({"items": [["i1"], ["i1", "i2"]]}, index=["first", "second"])
    frame[column] = pd.Series([frame["items"].iloc[0] if column == "items" else None, value], frame.index)
    with pytest.raises(ValueError, match=f"(?s)^row 'second': {message}"):
        served.predict(frame)


def test_a_column_of_categories_and_masked_numbers_are_read(served):
    plain = scores(served, device_type=CONTEXT["device_type"], dwell_ms=CONTEXT["dwell_ms"])
    numbers = [pd.array([1000, None], dtype="Int64"), np.array([5.0, 2000.0]), [], None]
    assert scores(served, device_type=pd.Categorical(CONTEXT["device_type"]), dwell_ms=numbers) == plain
    masked = [np.ma.array([1000, 7], mask=[False, True]), *numbers[1:]]
    assert scores(served, device_type=CONTEXT["device_type"], dwell_ms=masked) == plain


def test_a_param_without_a_value_is_an_error(served):
    for name in ("k", "exclude_seen", "exclude_cart"):
        with pytest.raises(ValueError, match=f"{name} has no value"):
            served.predict(pd.DataFrame({"items": ITEMS}), params={name: None})


def test_a_list_with_a_wrong_length_is_refused(served):
    with pytest.raises(ValueError, match="received 1 values for 2 items"):
        scores(served, event_type=[["item_viewed"], *TYPES[1:]])
