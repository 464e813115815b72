"""Decisions about purposes: the newest counts, ties refuse, and each is recorded once."""

from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest

from lastaisle.lake import Lake
from lastaisle.lake.errors import LakeUnusableError
from lastaisle.lake.tables import CONSENTS, CONSENTS_SCHEMA
from lastaisle.privacy.consents import NO_TABLE, PURPOSES, ConsentError, Decision, record, refused

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)
ANNA, BEN, VISIT = "a" * 32, "b" * 32, "c" * 32


def decision(who, minutes=0, *, granted=False, purpose="personalization", source="request"):
    user, visit = (None, who) if who == VISIT else (who, None)
    return Decision(user, visit, purpose, granted, NOON + timedelta(minutes=minutes), source)


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def refusing(lake, purpose="personalization", **options):
    rows = refused(lake, purpose, **options).to_pylist()
    return {row["user_id"] or row["session_id"] for row in rows}


def test_the_newest_decision_about_a_purpose_counts_however_late_it_is_recorded(lake):
    record(lake, [decision(ANNA, 5, granted=True), decision(BEN, 5)], 1)
    record(lake, [decision(ANNA, 0), decision(BEN, 0, granted=True), decision(VISIT, 0)], 1)
    record(lake, [decision(ANNA, 9, purpose="analytics")], 1)
    assert refusing(lake) == {BEN, VISIT}
    assert refusing(lake, "analytics") == {ANNA}
    assert refusing(lake, "sale") == set()
    assert refused(lake, "personalization").schema.names == ["user_id", "session_id"]
    assert {"user_id": None, "session_id": VISIT} in refused(lake, "personalization").to_pylist()


def test_among_decisions_of_one_moment_a_refusal_counts(lake):
    record(lake, [decision(ANNA, granted=True), decision(ANNA)], 1)
    assert refusing(lake) == {ANNA}
    elsewhere = NOON.astimezone(timezone(timedelta(hours=2)))
    record(lake, [Decision(ANNA, None, "personalization", True, elsewhere, "switch")], 1)
    assert refusing(lake) == {ANNA}


def test_a_past_moment_and_an_older_version_know_only_the_decisions_of_their_time(lake):
    record(lake, [decision(ANNA, 0)], 1)
    version = lake.version(CONSENTS)
    record(lake, [decision(ANNA, 10, granted=True), decision(BEN, 20)], 1)
    assert refusing(lake) == {BEN}
    assert refusing(lake, at=NOON + timedelta(minutes=10)) == set()
    assert refusing(lake, at=NOON + timedelta(minutes=9)) == {ANNA}
    assert refusing(lake, version=version) == {ANNA}
    assert refusing(lake, version=NO_TABLE) == set()


def test_the_same_decisions_are_written_once_in_any_order(lake):
    given = [decision(ANNA), decision(BEN, 1, granted=True)]
    assert record(lake, given, 1)
    assert not record(lake, reversed(given), 1)
    assert not record(lake, [], 1)
    assert lake.scan(CONSENTS).num_rows == 2
    assert record(lake, [decision(ANNA)], 1), "another call is another record, and changes nobody"
    assert refusing(lake) == {ANNA}


def test_a_row_says_who_decided_what_when_and_how(lake):
    record(lake, [decision(ANNA, purpose="sale", source="do_not_sell")], 3)
    rows = lake.scan(CONSENTS)
    assert rows.schema.names == CONSENTS_SCHEMA.names
    (row,) = rows.to_pylist()
    recorded = row.pop("recorded_at")
    assert abs(datetime.now(UTC) - recorded) < timedelta(minutes=1)
    assert row == {
        "user_id": ANNA,
        "session_id": None,
        "purpose": "sale",
        "granted": False,
        "at": NOON,
        "source": "do_not_sell",
        "key_version": 3,
    }


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ((ANNA, VISIT, "sale", True, NOON, "gpc"), "received 2 of user_id and session_id"),
        ((None, None, "sale", True, NOON, "gpc"), "received 0 of user_id and session_id"),
        (("anna@shop.example", None, "sale", True, NOON, "gpc"), "received 17 characters"),
        ((ANNA, None, "ads", True, NOON, "gpc"), "one of analytics, personalization, sale; received 'ads'"),
        ((ANNA, None, "sale", True, NOON, "dnt"), "received 'dnt'"),
        ((ANNA, None, "sale", True, datetime(2025, 10, 9), "gpc"), "should carry its time zone"),
    ],
)
def test_a_decision_that_nobody_could_read_is_refused_without_naming_the_shopper(given, problem):
    with pytest.raises(ConsentError, match=problem) as caught:
        Decision(*given)
    assert "anna@" not in str(caught.value)
    assert ANNA not in str(caught.value)


def test_a_decision_of_the_future_is_refused_since_it_would_outweigh_all_until_then(lake):
    tomorrow = Decision(ANNA, None, "sale", True, datetime.now(UTC) + timedelta(days=1), "switch")
    with pytest.raises(ConsentError, match="lies in the future") as caught:
        record(lake, [tomorrow], 1)
    assert ANNA not in str(caught.value)
    assert ANNA not in repr(tomorrow)
    assert lake.version(CONSENTS) is None


def test_nobody_refuses_before_the_first_decision_and_an_unreadable_table_is_no_empty_one(lake):
    for purpose in PURPOSES:
        assert refused(lake, purpose).num_rows == 0
    with pytest.raises(ConsentError, match="one of"):
        refused(lake, "advertising")
    lake.append(CONSENTS, pa.table({"who": [ANNA]}), key="of another program")
    with pytest.raises(LakeUnusableError, match="consents"):
        refused(lake, "sale")
