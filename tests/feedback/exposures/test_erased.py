"""Exposures of erased shoppers that are read again are ignored, whether they come with ids or pseudonyms."""

from datetime import UTC, datetime

from lastaisle.privacy.domains import LakeKey
from lastaisle.privacy.erased import mark

from .conftest import feedback, row

BEFORE = datetime(2025, 10, 9, 13, tzinfo=UTC)


def test_feedback_of_an_erased_shopper_is_known_by_its_pseudonym(shown):
    anna = LakeKey(1, shown.keys.key, shown.keys.fingerprint()).pseudonym("user_id", "anna")
    mark(shown.lake, shown.keys, ["anna"], BEFORE, "r1")
    lines = [feedback(1, user_id=anna), feedback(2), feedback(3, user_id=anna, position=-1)]
    lines.append(feedback(4, user_id=anna, occurred_at="2025-10-09T14:00:00Z", received_at=None))
    report = shown.take(*lines)
    assert (report.rows_in, report.rows_clean, report.ignored_by_reason) == (4, 2, {"erased": 2})
    assert anna not in repr(shown.rows("quarantine"))
    assert [one["item_id"] for one in shown.rows()] == ["item-2", "item-4"]


def test_rows_with_the_shops_own_ids_are_known_by_the_pseudonym_that_they_get(shown):
    mark(shown.lake, shown.keys, ["anna"], BEFORE, "r1")
    report = shown.take(row(1), row(2, user_id="ben"), form="exposures")
    assert (report.rows_clean, report.ignored_by_reason) == (1, {"erased": 1})


def test_feedback_is_known_by_the_key_that_made_its_pseudonyms(shown):
    old = LakeKey(1, shown.keys.key, shown.keys.fingerprint()).pseudonym("user_id", "anna")
    shown.keys = shown.keys.rotate()
    mark(shown.lake, shown.keys, ["anna"], BEFORE, "r1")
    new = LakeKey(2, shown.keys.key, shown.keys.fingerprint()).pseudonym("user_id", "anna")
    report = shown.take(feedback(1, user_id=old), feedback(2, user_id=new), feedback(3))
    assert (report.rows_clean, report.ignored_by_reason) == (1, {"erased": 2})
