"""Each format gives the same exposures."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.contract import load_contract
from lastaisle.feedback.exposures.formats import EXPOSURE_FORMATS, exposure_adapter
from lastaisle.feedback.origin import origin_of
from lastaisle.ingest.run import ingest
from lastaisle.privacy.domains import key_of_lake

from .conftest import NOW, feedback, row, seen, track

OURS = f"7-p-{'a' * 24}"
ROWS = [row(1), row(2, experiment="e", arm="b"), row(3, kind="clicked", position=None, propensity=None)]
PLACES = ("batch_id", "source_file", "source_row", "sub_row")


def separated(rows, sign):
    names = list(dict.fromkeys(name for one in rows for name in one))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, delimiter=sign, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def packed(rows):
    out = io.BytesIO()
    names = dict.fromkeys(name for one in rows for name in one)
    pq.write_table(pa.table({name: [one.get(name) for one in rows] for name in names}), out)
    return out.getvalue()


def contents(shown):
    return [{name: one[name] for name in one if name not in PLACES} for one in shown.rows()]


def test_a_format_of_each_name_has_an_adapter():
    assert [exposure_adapter(name).name for name in EXPOSURE_FORMATS] == list(EXPOSURE_FORMATS)


def test_json_lines_csv_tsv_and_parquet_give_the_same_rows(make_shown):
    texts = {
        "rows.jsonl": "".join(f"{json.dumps(one)}\n" for one in ROWS).encode(),
        "rows.csv": separated(ROWS, ","),
        "rows.tsv": separated(ROWS, "\t"),
        "rows.parquet": packed(ROWS),
    }
    found = {}
    for name, content in texts.items():
        shown = make_shown(name.replace(".", "-"))
        report = shown.ingest(shown.write(content, name), "exposures")
        assert (report.rows_clean, report.rows_shown) == (3, 2), name
        found[name] = contents(shown)
    assert found["rows.jsonl"] == found["rows.csv"] == found["rows.tsv"] == found["rows.parquet"]


def test_usual_names_of_columns_and_kinds_are_understood(shown):
    lines = [
        {
            "Impression ID": "e1",
            "action": "Impression",
            "list_id": "l",
            "timestamp": 1760011200120,
            "customer-id": 7.0,
            "visitId": "v",
            "SKU": "i1",
            "rank": "1",
            "slot": "cart",
            "version": 3,
            "algorithm": "greedy",
            "variant": "b",
            "experiment_id": "e",
            "probability": "0.25",
        }
    ]
    assert shown.take(*lines, form="exposures").rows_clean == 1
    (found,) = shown.rows()
    wanted = {
        "exposure_id": "e1",
        "kind": "shown",
        "recommendation_id": "l",
        "item_id": "i1",
        "position": 1,
        "placement": "cart",
        "model_version": "3",
        "policy": "greedy",
        "experiment": "e",
        "arm": "b",
        "propensity": 0.25,
    }
    assert {name: found[name] for name in wanted} == wanted
    assert found["occurred_at"].isoformat() == "2025-10-09T12:00:00+00:00"
    key = key_of_lake(shown.lake, shown.keys, None)
    assert found["user_id"] == key.pseudonym("user_id", "7")
    assert found["session_id"] == key.pseudonym("session_id", "v")


def test_a_list_of_our_service_says_its_version_policy_and_propensity(shown):
    known = {"recommendation_id": OURS, "model_version": None, "policy": None, "propensity": None}
    refused = row(4, **(known | {"recommendation_id": f"7-n-{'a' * 24}"}))
    report = shown.take(
        row(1, **known), row(2, **(known | {"policy": "model"})), row(3, **known), refused, form="exposures"
    )
    origin = origin_of(OURS)
    for found in shown.rows():
        assert (
            (found["model_version"], found["policy"]) == (origin.version, origin.policy) == ("7", "popular")
        )
        assert found["propensity"] == 1.0
    assert report.quarantined_by_rule == {"recommendation_id_says_otherwise": 1}
    assert report.ignored_by_reason == {"no_consent": 1}


def test_rows_without_an_id_get_one_from_their_content(shown):
    rows = [row(number, exposure_id=None) for number in (1, 2)]
    assert shown.take(*rows, rows[0], form="exposures").rows_duplicate == 1
    again = shown.take(rows[1], row(3, exposure_id=None), form="exposures", name="later.jsonl")
    assert (again.rows_clean, again.rows_duplicate) == (1, 1)
    other = shown.take(row(1, exposure_id=None, placement="cart"), form="exposures", name="other.jsonl")
    assert other.quarantined_by_rule == {"exposure_id_reused": 1}


def test_a_product_list_gives_one_row_a_product_and_a_click_one(shown):
    named = {"recommendation_id": OURS, "placement": "cart", "experiment": "e", "arm": "b"}
    report = shown.take(
        seen({"product_id": "i1"}, {"sku": "i2", "position": 7}, **named),
        track("Clicked Product", "m2", product_id="i2", position=7, **named),
        form="segment",
    )
    assert (report.rows_in, report.rows_clean, report.rows_shown) == (3, 3, 2)
    names = (
        "exposure_id",
        "kind",
        "item_id",
        "position",
        "placement",
        "policy",
        "propensity",
    )
    assert sorted(tuple(one[name] for name in names) for one in shown.rows()) == [
        ("m1:0", "shown", "i1", 1, "cart", "popular", 1.0),
        ("m1:1", "shown", "i2", 7, "cart", "popular", 1.0),
        ("m2", "clicked", "i2", 7, "cart", "popular", 1.0),
    ]
    assert {(one["experiment"], one["arm"]) for one in shown.rows()} == {("e", "b")}


def test_calls_that_name_no_recommendation_are_ignored_by_name(shown):
    report = shown.take(
        seen({"id": "i1"}, {"id": "i2"}, list_id="summer", category="Shoes"),
        seen({"id": "i1"}, recommendationId="l", modelVersion=2, policy="greedy") | {"messageId": "m2"},
        seen(list_id="l", policy="p", model_version="1") | {"messageId": "m3"},
        track("Product Clicked", "m4", product_id="i"),
        track("Product Added", "m5", product_id="i", recommendation_id=OURS),
        track("Signed Up", "m6"),
        {"type": "identify", "userId": "anna"},
        {"type": "page", "userId": "anna"},
        form="segment",
    )
    assert (report.rows_in, report.rows_clean) == (8, 1)
    assert report.ignored_by_reason == {
        "track: Product List Viewed without a recommendation": 1,
        "list without products": 1,
        "track: Product Clicked without a recommendation": 1,
        "track: Product Added": 1,
        "track: Signed Up": 1,
        "identify": 1,
        "page": 1,
    }
    assert shown.rows()[0]["placement"] == "checkout"


def test_calls_that_cannot_be_read_are_quarantined(shown):
    named = {"recommendation_id": "l", "policy": "p", "model_version": "1"}
    calls = [
        seen({"no": "id"}, **named),
        track("Product List Viewed", "m2", products="neither", **named),
        track("Product Clicked", "m3") | {"properties": 7},
        track("Product Clicked", "m4", **named),
        seen({"id": "i"}, **(named | {"recommendation_id": OURS})) | {"messageId": "m5"},
        {"batch": []},
        {"event": "Product Clicked"},
        {"type": "track", "userId": "anna"},
        "{",
    ]
    shown.take(*calls, form="segment", options=replace(shown.options, accept_schema_change=True))
    assert shown.rules() == [
        ["product_without_id"],
        ["products_unreadable"],
        ["properties_unreadable"],
        ["item_id_is_required"],
        ["recommendation_id_says_otherwise"],
        ["batch_of_calls"],
        ["call_without_type"],
        ["track_without_event"],
        ["not_json"],
    ]


def test_one_file_of_calls_gives_events_and_exposures(shown):
    path = shown.write([seen({"id": "i1"}, {"id": "i2"}, recommendation_id=OURS), "{"], "calls.jsonl")
    events = ingest(path, "segment", shown.lake, shown.keys, now=NOW)
    report = shown.ingest(path, "segment")
    assert (events.rows_clean, events.rows_quarantined) == (1, 1)
    assert (report.rows_clean, report.rows_quarantined) == (2, 1)
    assert len(shown.rows("quarantine")) == 2
    assert ingest(path, "segment", shown.lake, shown.keys, now=NOW).files_skipped == 1
    assert shown.ingest(path, "segment").files_skipped == 1


def test_other_contents_under_a_known_id_go_to_quarantine_but_not_other_pseudonyms_of_another_key(shown):
    shown.take(row(1), form="exposures")
    changed = shown.take(row(1, user_id="bert"), row(2), form="exposures", name="b.jsonl")
    assert changed.quarantined_by_rule == {"exposure_id_reused": 1}
    rotated = shown.keys.rotate()
    again = shown.take(row(1), row(2), row(3), form="exposures", name="c.jsonl", keys=rotated)
    assert (again.rows_clean, again.rows_duplicate, again.rows_quarantined) == (1, 2, 0)
    assert {one["item_id"]: one["key_version"] for one in shown.rows()} == {
        "item-1": 1,
        "item-2": 1,
        "item-3": 2,
    }


@pytest.mark.parametrize(
    ("lines", "form", "right"),
    [
        ([row(number) for number in range(9)], "segment", "exposures"),
        ([feedback(number) for number in range(9)], "segment", "feedback"),
        ([row(number) for number in range(9)], "feedback", "exposures"),
        ([seen({"id": "i"}, recommendation_id=OURS)] * 9, "feedback", "segment"),
        ([seen({"id": "i"}, recommendation_id=OURS)] * 9, "exposures", "segment"),
    ],
)
def test_a_wrong_format_is_named(shown, lines, form, right):
    report = shown.take(*lines, form=form)
    (error,) = report.files_failed.values()
    assert f"use --format {right}" in error


def test_every_field_of_the_contract_is_read_by_each_format():
    names = {field.name for field in load_contract("exposures").fields}
    for form in ("exposures", "segment"):
        fields = exposure_adapter(form).fields
        given = fields(load_contract("exposures")) if callable(fields) else fields
        assert names <= set(given), form


IN_TRIAL = f"{OURS}~demo~new~0.25"


@pytest.mark.parametrize("form", ["exposures", "segment"])
def test_a_list_of_a_trial_says_its_experiment_its_arm_and_its_propensity(shown, form):
    known = {"recommendation_id": IN_TRIAL, "model_version": None, "policy": None, "propensity": None}
    given = [
        {},
        {"experiment": "demo"},
        {"arm": "new", "propensity": 0.25},
        {"experiment": "other", "arm": "new"},
        {"experiment": "demo", "arm": "control"},
        {"propensity": 0.5},
    ]
    if form == "exposures":
        lines = [row(number, **(known | each)) for number, each in enumerate(given, start=1)]
    else:
        lines = [
            track("Product Clicked", f"m{number}", product_id=f"i{number}", **{**known, **each})
            for number, each in enumerate(given, start=1)
        ]
    report = shown.take(*lines, form=form)
    assert report.rows_clean == 3
    assert report.quarantined_by_rule == {"recommendation_id_says_otherwise": 3}
    assert {(one["experiment"], one["arm"], one["propensity"]) for one in shown.rows()} == {
        ("demo", "new", 0.25)
    }
    assert {(one["model_version"], one["policy"]) for one in shown.rows()} == {("7", "popular")}
