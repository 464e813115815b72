"""What the service keeps becomes exposures, each row once, and every row is accounted for."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from data_contracts import load_contract
from lastaisle.errors import ReconciliationError
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.reading.files import NothingFoundError
from lastaisle.lake import Lake

from .conftest import NOW, SESSION, USER, feedback


def test_a_line_of_the_service_becomes_a_row(shown):
    report = shown.take(feedback(1, experiment="e", arm="b"))
    assert (report.rows_in, report.rows_clean, report.rows_shown) == (1, 1, 1)
    (row,) = shown.rows()
    assert row == {
        "exposure_id": f"{1:032x}",
        "kind": "shown",
        "recommendation_id": f"3-m-{'0' * 24}",
        "occurred_at": datetime(2025, 10, 9, 12, tzinfo=UTC),
        "received_at": datetime(2025, 10, 9, 12, tzinfo=UTC),
        "user_id": USER,
        "session_id": SESSION,
        "item_id": "item-1",
        "position": 1,
        "placement": "checkout",
        "model_version": "3",
        "policy": "model",
        "experiment": "e",
        "arm": "b",
        "propensity": 1.0,
        "batch_id": report.batches[0],
        "source_file": str(shown.folder / "shown.jsonl"),
        "source_row": 1,
        "sub_row": 0,
        "ingested_at": NOW,
        "contract_version": load_contract("exposures").version,
        "event_date": date(2025, 10, 9),
        "key_version": 1,
    }


def test_each_kind_is_kept_and_only_shown_rows_count_as_shown(shown):
    kinds = ("shown", "clicked", "added", "bought")
    lines = [feedback(number, kind=kind) for number, kind in enumerate(kinds, 1)]
    lines[1] |= {"position": None, "session_id": None, "user_id": None}
    report = shown.take(*lines)
    assert (report.rows_clean, report.rows_shown) == (4, 1)
    assert [row["kind"] for row in shown.rows()] == list(kinds)
    assert shown.rows("exposure_batches")[0]["rows_shown"] == 1


def test_broken_rows_are_quarantined_with_every_rule_and_the_others_stay(shown):
    report = shown.take(
        feedback(1),
        feedback(2, position=None),
        feedback(3, model_version=None, policy=None),
        feedback(4, kind="glanced"),
        feedback(5, user_id="anna"),
        feedback(6, propensity=0),
        feedback(7, recommendation_id=None, placement=None),
        feedback(8, occurred_at="2026-01-01T00:00:00Z"),
        feedback(9, item_id=None),
        "{",
    )
    assert (report.rows_in, report.rows_clean, report.rows_quarantined) == (10, 1, 9)
    assert shown.rules() == [
        ["shown_needs_position"],
        ["shown_needs_model_version", "shown_needs_policy"],
        ["kind_is_allowed"],
        ["user_id_matches_pattern"],
        ["propensity_in_range"],
        ["recommendation_id_is_required", "placement_is_required"],
        ["occurred_at_not_in_future", "clock_skew"],
        ["item_id_is_required"],
        ["not_json"],
    ]


def test_a_propensity_that_nobody_knows_is_a_warning(shown):
    report = shown.take(feedback(1, propensity=None), feedback(2, kind="clicked", propensity=None))
    assert report.rows_clean == 2
    assert report.warnings_by_rule["shown_has_propensity"] == 1


def test_a_row_of_a_list_without_consent_is_ignored_by_name(shown):
    report = shown.take(feedback(1), feedback(2, recommendation_id=f"3-n-{'0' * 24}"))
    assert (report.rows_clean, report.ignored_by_reason) == (1, {"no_consent": 1})


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({"consent": False}, "no_consent"),
        ({"consent": "denied"}, "no_consent"),
        ({"consent_analytics": "no"}, "no_consent"),
        ({"consent_personalization": 0, "consent": True}, "no_consent"),
        ({"consent": True, "consent_analytics": ""}, "clean"),
        ({"consent": "maybe"}, "consent_analytics_is_boolean"),
        ({"consent": {"analytics": False}}, "consent_analytics_is_boolean"),
    ],
)
def test_a_consent_in_a_line_is_never_passed_over(shown, given, outcome):
    report = shown.take(feedback(1, **given))
    found = {**report.ignored_by_reason, **report.quarantined_by_rule}
    assert (found or {"clean": report.rows_clean}) == {outcome: 1}
    assert report.unknown_fields == {}


def test_fields_that_the_contract_does_not_have_are_named(shown, caplog):
    report = shown.take(feedback(1, score=0.5, Position=2), feedback(2, score=0.25))
    assert (report.rows_clean, report.unknown_fields) == (2, {"score": 2, "Position": 1})
    assert "the contract exposures.odcs.yaml has no field for" in caplog.text


def test_the_same_file_twice_changes_nothing(shown):
    path = shown.write([feedback(1), feedback(2, position=None)])
    first = shown.ingest(path)
    tables = ("exposures", "quarantine", "exposure_batches", "files")
    before = {name: (shown.rows(name), shown.lake.version(name)) for name in tables}
    second = shown.ingest(path)
    assert (first.rows_clean, second.rows_clean, second.rows_duplicate) == (1, 0, 2)
    assert (second.files, second.files_skipped, second.rows_shown) == (1, 1, 0)
    assert before == {name: (shown.rows(name), shown.lake.version(name)) for name in tables}


def test_a_copy_is_the_same_batch_and_a_grown_file_brings_only_its_new_rows(shown):
    shown.take(feedback(1), name="a.jsonl")
    assert shown.take(feedback(1), name="b.jsonl").files_skipped == 1
    grown = shown.take(feedback(1), feedback(2), name="a.jsonl")
    assert (grown.rows_clean, grown.rows_duplicate) == (1, 1)
    assert len(shown.rows()) == 2


def test_feedback_that_is_sent_again_without_a_time_is_a_duplicate(shown):
    """The service makes the id without a time then, but writes the moment of receipt as the time."""
    later = {"occurred_at": "2025-10-09T18:00:00Z", "received_at": "2025-10-09T18:00:00Z", "arm": "b"}
    report = shown.take(feedback(1), feedback(1, **later, experiment="e"))
    assert (report.rows_clean, report.rows_duplicate) == (1, 1)
    again = shown.take(feedback(1, **later, experiment="e", session_id="6" * 32), name="later.jsonl")
    assert (again.rows_clean, again.rows_duplicate, again.rows_quarantined) == (0, 1, 0)
    assert shown.rows()[0]["arm"] is None


def test_another_item_under_a_known_id_goes_to_quarantine(shown):
    shown.take(feedback(1))
    report = shown.take(feedback(1, item_id="other"), feedback(2), name="later.jsonl")
    assert (report.rows_clean, report.quarantined_by_rule) == (1, {"exposure_id_reused": 1})
    assert json.loads(shown.rows("quarantine")[0]["payload"])["item_id"] == "other"


def test_duplicates_are_searched_on_near_days_only_if_the_setting_says_so(shown):
    near = replace(shown.options, duplicate_reach=timedelta(days=2))
    shown.take(feedback(1))
    far = feedback(1, occurred_at="2025-10-01T00:00:00Z", received_at=None)
    assert shown.take(far, name="far.jsonl", options=near).rows_clean == 1
    assert shown.take(far | {"arm": "b"}, name="all.jsonl").rows_clean == 0


def test_late_rows_are_counted_and_lie_in_their_own_day(shown):
    report = shown.take(feedback(1), feedback(2, occurred_at="2025-10-08T12:00:00Z"))
    assert report.rows_late == 1
    assert report.days == [date(2025, 10, 8), date(2025, 10, 9)]
    assert {row["event_date"] for row in shown.rows()} == {date(2025, 10, 8), date(2025, 10, 9)}


def test_a_long_file_becomes_several_batches(shown):
    short = replace(shown.options, batch_rows=2)
    report = shown.take(*(feedback(number) for number in range(1, 6)), options=short)
    assert (report.rows_clean, len(report.batches)) == (5, 3)
    assert [row["part"] for row in sorted(shown.rows("exposure_batches"), key=lambda row: row["part"])] == [
        0,
        1,
        2,
    ]


def test_great_expectations_judges_a_sample_alike(shown):
    lines = [feedback(number, position=None if number % 3 else number) for number in range(1, 40)]
    report = shown.take(*lines, options=IngestOptions())
    assert shown.rows("exposure_batches")[0]["gx_success"] is True
    assert report.gx_problems == {}


def test_a_field_that_disappears_stops_the_file(shown):
    lines = [feedback(number, experiment="e", arm="b") for number in range(1, 121)]
    shown.write(lines, "day/1.jsonl")
    shown.ingest(str(shown.folder / "day"))
    shown.write([line | {"session_id": None} for line in lines], "day/2.jsonl")
    report = shown.ingest(str(shown.folder / "day"))
    (error,) = report.files_failed.values()
    assert "session_id is gone" in error
    accepted = replace(shown.options, accept_schema_change=True)
    assert shown.ingest(str(shown.folder / "day"), options=accepted).files_failed == {}


def test_an_experiment_may_end(shown):
    day = str(shown.folder / "day")
    shown.write([feedback(number, experiment="e", arm="b") for number in range(1, 121)], "day/1.jsonl")
    shown.ingest(day)
    shown.write([feedback(number, propensity=None) for number in range(200, 320)], "day/2.jsonl")
    assert shown.ingest(day).rows_clean == 120


def test_a_wrong_format_is_refused_and_the_right_one_is_named(shown):
    path = shown.write(
        b"kind,recommendation_id,occurred_at,item_id,placement\n"
        + b"shown,l,2025-10-09T12:00:00Z,i,checkout\n" * 9
    )
    (error,) = shown.ingest(path).files_failed.values()
    assert "use --format exposures" in error
    assert shown.rows() == [] == shown.rows("quarantine")


def test_files_that_the_service_still_writes_are_passed_over(shown):
    shown.write([feedback(1)], "feedback/2025-10-09/feedback-1.jsonl.inprogress")
    source = str(shown.folder / "feedback" / "{day}")
    with pytest.raises(NothingFoundError):
        shown.ingest(source)
    shown.write([feedback(2)], "feedback/2025-10-09/feedback-2.jsonl")
    shown.write([feedback(3)], "feedback/2025-10-10/feedback-3.jsonl")
    report = shown.ingest(source)
    assert (report.rows_clean, report.files) == (2, 2)
    assert "unfinished" in " ".join(report.files_passed_over.values())


def test_row_counts_that_do_not_add_up_stop_the_commit(shown, monkeypatch):
    from lastaisle.ingest.staging.staging import Staging

    count = Staging.count
    wrong = lambda self, source: count(self, source) + (source == "staged")  # noqa: E731
    monkeypatch.setattr(Staging, "count", wrong)
    with pytest.raises(ReconciliationError):
        shown.take(feedback(1))
    assert shown.lake.version("exposures") is None


def test_a_lake_of_another_release_gets_the_new_table(shown, tmp_path):
    assert Lake(tmp_path / "old").version("exposures") is None
    assert shown.take(feedback(1), keys=None).rows_clean == 1
    assert shown.rows()[0]["key_version"] is None
