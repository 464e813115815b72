"""What Great Expectations reports about a frame."""

from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pytest

from data_contracts import load_contract
from data_contracts.expectations import frame_from_arrow, gx_suite, validate_frame

NOW = datetime(2025, 10, 9, 13, tzinfo=UTC)


@pytest.fixture(scope="module")
def contract():
    return load_contract("raw_events")


def rows(count, **changes):
    row = {
        "event_type": "item_viewed",
        "occurred_at": datetime(2025, 10, 9, 12, tzinfo=UTC),
        "session_id": "s1",
        "item_id": "i1",
        "consent_analytics": True,
    }
    return [{"event_id": f"e{number}"} | row | changes for number in range(count)]


def typed(contract, given):
    return frame_from_arrow(pa.Table.from_pylist(given, contract.arrow_schema()))


def test_the_suite_checks_columns_types_uniqueness_and_every_rule(contract):
    names = [expectation.meta["rule"] for expectation in gx_suite(contract).expectations]

    assert len(names) == len(set(names))
    assert {"columns_exist", "event_id_is_unique"} <= set(names)
    assert {field.type_rule for field in contract.fields} <= set(names)
    assert {rule.name for rule in contract.rules} <= set(names)


def test_the_suite_survives_json(contract):
    import json

    suite = gx_suite(contract)
    written = json.loads(json.dumps(suite.to_json_dict()))
    assert len(written["expectations"]) == len(suite.expectations)


def test_good_rows_pass_and_no_file_is_left(contract, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    report = validate_frame(contract, typed(contract, rows(20)), now=NOW)

    assert report.passed
    assert report.failures == ()
    assert report.rows == 20
    assert report.contract == f"raw_events {load_contract('raw_events').version}"
    assert list(tmp_path.iterdir()) == []
    assert "Calculating Metrics" not in "".join(capsys.readouterr())


def test_no_rows_pass(contract):
    assert validate_frame(contract, typed(contract, []), now=NOW).passed


def test_a_repeated_event_id_is_found(contract):
    report = validate_frame(contract, typed(contract, rows(3) + rows(1)), now=NOW)
    assert [(found.name, found.unexpected_count) for found in report.failures] == [("event_id_is_unique", 2)]


def test_the_report_is_bounded(contract):
    report = validate_frame(contract, typed(contract, rows(500, item_id="x" * 5000)), now=NOW)

    (failure,) = report.failures
    assert failure.name == "item_id_has_length"
    assert failure.unexpected_count == 500
    assert failure.examples == ("x" * 100,) * 5
    assert not report.passed


def test_now_is_a_parameter(contract):
    frame = typed(contract, rows(2))
    early = validate_frame(contract, frame, now=datetime(2025, 10, 9, 11, 54, tzinfo=UTC))
    in_time = validate_frame(contract, frame, now=datetime(2025, 10, 9, 11, 55, tzinfo=UTC))
    assert [found.name for found in early.failures] == ["occurred_at_not_in_future"]
    assert in_time.passed


def test_values_of_a_wrong_type_are_counted(contract):
    frame = typed(contract, rows(3))
    frame["quantity"] = pd.Series([1, "two", 3.5], dtype=object)
    frame["consent_analytics"] = pd.Series([True, "yes", None], dtype=object)

    report = validate_frame(contract, frame, now=NOW)

    assert report.outcome("quantity_is_integer").unexpected_count == 2
    assert report.outcome("consent_analytics_is_boolean").unexpected_count == 1
    assert report.outcome("event_id_is_string").passed


def test_integers_with_gaps_pass_as_floats_unless_broken(contract):
    frame = typed(contract, rows(3))
    frame["quantity"] = [1.0, None, 3.0]
    assert validate_frame(contract, frame, now=NOW).passed
    frame["quantity"] = [1.5, None, 3.0]
    assert validate_frame(contract, frame, now=NOW).outcome("quantity_is_integer").unexpected_count == 1


def test_a_missing_column_fails_and_says_why(contract):
    report = validate_frame(contract, typed(contract, rows(2)).drop(columns="item_id"), now=NOW)

    assert not report.outcome("columns_exist").passed
    assert not report.outcome("item_id_has_length").passed
    assert "item_id" in report.outcome("item_id_has_length").problem
    assert len(report.outcome("item_id_has_length").problem) <= 300


def test_further_columns_are_ignored(contract):
    frame = typed(contract, rows(2)).assign(batch_id="b1")
    assert validate_frame(contract, frame, now=NOW).passed


def test_a_reference_is_checked_when_its_values_are_given():
    exposures = load_contract("exposures")
    row = {
        "exposure_id": "x1",
        "kind": "shown",
        "recommendation_id": "r1",
        "placement": "checkout",
        "occurred_at": datetime(2025, 10, 9, 12, tzinfo=UTC),
        "session_id": "0123456789abcdef" * 2,
        "item_id": "i1",
        "position": 1,
        "propensity": 0.5,
        "model_version": "3",
        "policy": "greedy",
    }
    frame = typed(exposures, [row])

    skipped = validate_frame(exposures, frame, now=NOW)
    known = validate_frame(exposures, frame, now=NOW, references={"events.item_id": ["i1", "i2"]})
    unknown = validate_frame(exposures, frame, now=NOW, references={"events.item_id": ["i2"]})

    assert skipped.passed
    assert skipped.skipped == ("session_id_refers_to_events", "item_id_refers_to_events")
    assert known.outcome("item_id_refers_to_events").passed
    assert [found.name for found in unknown.failures] == ["item_id_refers_to_events"]
    assert unknown.passed, "a warning alone does not fail a frame"
