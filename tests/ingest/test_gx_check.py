"""Great Expectations judges a sample as well; a failure of its own never stops a batch."""

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts import load_contract
from lastaisle.errors import ExitCode
from lastaisle.ingest.checks import gx_check
from lastaisle.ingest.options import IngestOptions

CHECKED = IngestOptions(gx_sample_rows=1000)
FAR_TIMES = [
    "0000-00-00 00:00:00",
    "0000-01-01 00:00:00",
    "0001-01-01T00:00:00+14:00",
    "10000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999-14:00",
    "57820-07-05 10:13:20",
    "294246-01-01T00:00:00Z",
    "-290307-12-22 00:00:00",
    "0044-03-15 (BC) 00:00:00",
    "infinity",
    "99999999999999",
]
#: Times that Python and pandas hold; the rules of the contract refuse them by their own names.
EDGE_TIMES = {
    "0001-01-01T00:00:00Z": "occurred_at_in_range",
    "1969-12-31T23:59:59.999999Z": "occurred_at_in_range",
    "9999-12-31T23:59:59.999999Z": "occurred_at_not_in_future",
    "9999-12-31T23:59:59+14:00": "occurred_at_not_in_future",
    "2262-04-11T23:47:16.854775808Z": "occurred_at_not_in_future",
}


def test_a_time_that_python_cannot_hold_costs_its_row_only(shop):
    events = [shop.event(number, occurred_at=text) for number, text in enumerate(FAR_TIMES)]
    report = shop.ingest(shop.write([*events, shop.event(99)]), options=CHECKED)
    assert (report.rows_clean, report.gx_problems) == (1, {})
    assert shop.rules() == [["occurred_at_is_timestamp"]] * len(FAR_TIMES)
    assert shop.rows("batches")[0]["gx_success"] is True


def test_a_far_time_that_python_can_hold_breaks_the_rule_on_times(shop):
    events = [shop.event(number, occurred_at=text) for number, text in enumerate(EDGE_TIMES)]
    report = shop.ingest(shop.write([*events, shop.event(99)]), options=CHECKED)
    assert (report.rows_clean, report.gx_problems) == (1, {})
    for broken, expected in zip(shop.rules(), EDGE_TIMES.values(), strict=True):
        assert expected in broken
    assert shop.rows("batches")[0]["gx_success"] is True


@pytest.mark.parametrize(
    ("format_name", "lines", "rules"),
    [
        ("taobao", ["1,2,3,pv,1511544070", "1,2,3,pv,1511561733000"], [["occurred_at_is_timestamp"]]),
        ("taobao", ["1,2,3,pv,1511544070", "1,2,3,pv,9223372036854775807"], [["occurred_at_is_timestamp"]]),
        ("taobao", ["1,2,3,pv,1511544070", "1,2,3,pv,-99999999999999"], [["occurred_at_is_timestamp"]]),
        (
            "otto",
            [
                {"session": 1, "events": [{"aid": 1, "ts": 1659304800025, "type": "clicks"}]},
                {"session": 2, "events": [{"aid": 1, "ts": 1659304800025000, "type": "clicks"}]},
            ],
            [["occurred_at_is_timestamp"]],
        ),
    ],
)
def test_a_number_in_a_wrong_unit_of_time_costs_its_row_only(shop, format_name, lines, rules):
    report = shop.ingest(shop.write(lines), format_name, options=CHECKED)
    assert (report.rows_clean, report.gx_problems) == (1, {})
    assert shop.rules() == rules


@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("number", [-(2**62), 10**18])
def test_a_far_time_in_parquet_costs_its_row_only(shop, unit, number):
    good = int(datetime(2025, 10, 9, tzinfo=UTC).timestamp()) * {"ms": 10**3, "us": 10**6}[unit]
    rows = [shop.event(1), shop.event(2)]
    columns = {name: pa.array([row[name] for row in rows]) for name in rows[0] if name != "received_at"}
    columns["occurred_at"] = pa.array([good, number], pa.int64()).cast(pa.timestamp(unit, tz="UTC"))
    path = shop.folder / "log.parquet"
    pq.write_table(pa.table(columns), path)
    report = shop.ingest(str(path), options=CHECKED)
    assert (report.rows_clean, report.rows_quarantined, report.gx_problems) == (1, 1, {})


NUMBERS = ["inf", "-Infinity", "nan", "1e999", "-1e308", "5e-324", "9" * 400, "0x1F", "1_000", "9,90"]
INTEGERS = ["9223372036854775807", "9223372036854775808", "-9223372036854775808", "2147483648", "1e3", "2.50"]


def test_numbers_at_the_edges_never_stop_a_batch(shop):
    events = [shop.event(1)]
    events += [shop.event(10 + place, price=text) for place, text in enumerate(NUMBERS)]
    events += [shop.event(30 + place, quantity=text) for place, text in enumerate(INTEGERS)]
    events += [shop.event(50 + place, dwell_ms=text) for place, text in enumerate(INTEGERS)]
    report = shop.ingest(shop.write(events), options=CHECKED)
    assert report.rows_in == len(events)
    assert report.gx_problems == {}
    assert shop.rows("batches")[0]["gx_success"] is True


NUMBER = itertools.count()
TYPED = [field.name for field in load_contract("raw_events").fields if field.logical_type != "string"]
TEXTS = st.one_of(
    st.sampled_from([*FAR_TIMES, *EDGE_TIMES, *NUMBERS, *INTEGERS, "true", "no", "", " ", "null"]),
    st.datetimes().map(lambda time: time.isoformat()),
    st.datetimes(timezones=st.timezones()).map(lambda time: time.isoformat()),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(repr),
    st.text(max_size=12),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(st.sampled_from(TYPED), TEXTS), min_size=1, max_size=40))
def test_any_text_in_any_typed_field_is_judged(make_shop, rows):
    shop = make_shop(f"shop-{next(NUMBER)}")
    events = [shop.event(number, **changes) for number, changes in enumerate(rows)]
    report = shop.ingest(shop.write(events), options=CHECKED)
    assert report.rows_in == len(rows)
    assert report.gx_problems == {}


@pytest.mark.parametrize("broken", ["frame_from_arrow", "validate_frame"])
def test_a_failure_of_great_expectations_itself_stops_nothing(shop, monkeypatch, caplog, broken):
    def fail(*_, **__):
        raise NotImplementedError("toordinal not yet supported")

    monkeypatch.setattr(gx_check, broken, fail)
    source = shop.write([shop.event(1), shop.event(2, price=-1)])
    report = shop.ingest(source, options=CHECKED)
    assert (report.rows_clean, report.rows_quarantined) == (1, 1)
    assert report.gx_problems == {source: "NotImplementedError: toordinal not yet supported"}
    (batch,) = shop.rows("batches")
    assert (batch["gx_success"], batch["gx_problem"]) == (False, report.gx_problems[source])
    assert "could not judge the sample" in caplog.text


def test_a_rule_that_great_expectations_cannot_judge_is_named_and_the_others_still_count(shop, monkeypatch):
    def judge(contract, frame, **given):
        report = gx_check_validate(contract, frame, **given)
        outcomes = tuple(
            replace(outcome, problem="no such metric", unexpected_count=9)
            if outcome.name == "price_in_range"
            else outcome
            for outcome in report.outcomes
        )
        return replace(report, outcomes=outcomes)

    gx_check_validate = gx_check.validate_frame
    monkeypatch.setattr(gx_check, "validate_frame", judge)
    report = shop.ingest(shop.write([shop.event(1)]), options=CHECKED)
    assert list(report.gx_problems.values()) == ["price_in_range: no such metric"]
    assert report.rows_clean == 1


def test_a_disagreement_stops_its_file_only(shop):
    contract = load_contract("raw_events")
    lenient = replace(contract.rule("price_in_range"), predicate="true")
    rules = tuple(lenient if rule.name == lenient.name else rule for rule in contract.rules)
    folder = shop.folder / "logs"
    folder.mkdir()
    for number, price in enumerate([1, -1, 2]):
        (folder / f"{number}.jsonl").write_text(json.dumps(shop.event(number, price=price)) + "\n")
    report = shop.ingest(str(folder), contract=replace(contract, rules=rules), options=CHECKED)
    assert list(report.files_failed) == [str(folder / "1.jsonl")]
    assert "price_in_range" in report.files_failed[str(folder / "1.jsonl")]
    assert report.exit_code == ExitCode.CHECKS_DISAGREE
    assert [row["event_id"] for row in shop.rows("raw_events")] == ["event-0", "event-2"]
    assert report.files == 2
