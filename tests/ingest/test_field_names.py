"""A field may have any name that no added column has; its values reach raw_events and events unchanged."""

import pytest

from data_contracts import ContractError, load_contract
from data_contracts.document import PACKAGED
from lastaisle.ingest.options import IngestOptions
from lastaisle.lake.tables import EVENTS_ADDED, INGESTION_ADDED
from lastaisle.privacy.anonymize import anonymize_pending
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.privacy.rotate import rotate_pseudonyms

NAMES = (
    *("select", "from", "order", "group", "user", "table", "null", "true", "case", "end", "default", "limit"),
    *("using", "where", "values", "interval", "date", "timestamp", "varchar", "cast", "in", "is", "not"),
    *("line", "lines", "text", "texts", "text_price", "reason", "payload", "malformed", "ignored", "place"),
    *("prepared", "typed", "judged", "staged", "repeated", "taken", "named", "ranks", "rank", "visits"),
    *("others", "seen", "users", "moved", "known", "sessions", "start", "ours", "hour", "occurrence", "rule"),
    *("source_lines", "reference_rows", "pseudonyms_of_user_id", "doc", "f", "e", "p", "c", "product"),
    *("expanded", "now", "newest", "line_number", "n" * 300),
)
ADDED = sorted({*INGESTION_ADDED.names, *EVENTS_ADDED.names, "raw", "rules"})


def contract_with(folder, fields):
    """Return raw_events with further optional fields, each name with a logicalType and a classification."""
    text = (PACKAGED / "raw_events.odcs.yaml").read_text(encoding="utf-8")
    added = "".join(
        f"      - {{name: {name!r}, logicalType: {kind}, classification: {sensitivity}}}\n"
        for name, (kind, sensitivity) in fields.items()
    )
    path = folder / "named.odcs.yaml"
    rules = "\n    quality:\n      - name: user_or"
    path.write_text(text.replace(rules, f"\n{added}{rules}", 1))
    return load_contract(path)


def shoppers(shop, values):
    """Return two events of a user without a session, the later event first."""
    times = ("2025-10-09T12:00:05Z", "2025-10-09T12:00:01Z")
    return [
        shop.event(number, session_id=None, user_id="user-1", occurred_at=time, **values)
        for number, time in enumerate(times)
    ]


@pytest.mark.parametrize(
    ("kind", "sensitivity", "value"),
    [("string", "public", "kept"), ("integer", "internal", 7), ("string", "restricted", "secret")],
)
def test_every_name_reaches_raw_events_and_events(shop, tmp_path, kind, sensitivity, value):
    contract = contract_with(tmp_path, dict.fromkeys(NAMES, (kind, sensitivity)))
    values = {name: f"{value} {name}" if kind == "string" else value for name in NAMES}

    report = shop.ingest(shop.write(shoppers(shop, values)), contract=contract)
    again = shop.ingest(shop.write(shoppers(shop, values), "again.jsonl"), contract=contract)

    assert (report.rows_clean, report.rows_late, again.rows_duplicate) == (2, 0, 2)
    for row in shop.rows("raw_events"):
        assert {name: row[name] for name in NAMES} == values
    events = shop.rows("events")
    assert len({row["session_id"] for row in events}) == 1
    assert sorted(row["sequence"] for row in events) == [1, 2]
    for row in events:
        if sensitivity == "restricted":
            assert all(len(row[name]) == 32 for name in NAMES)
        else:
            assert {name: row[name] for name in NAMES} == values


def test_every_name_survives_anonymization_later_and_another_key(shop, tmp_path):
    contract = contract_with(tmp_path, dict.fromkeys(NAMES, ("string", "public")))
    values = {name: f"kept {name}" for name in NAMES}
    options = IngestOptions(gx_sample_rows=0, shards=2)
    keys, shop.keys = shop.keys, None
    shop.ingest(shop.write(shoppers(shop, values)), contract=contract, options=options)

    anonymize_pending(shop.lake, keys, contract=contract)
    rotated = PseudonymKeys(2, {2: b"k" * 32})
    written = rotate_pseudonyms(shop.lake, rotated, contract=contract)

    assert written == 2
    for row in shop.rows("events"):
        assert {name: row[name] for name in NAMES} == values


def test_great_expectations_agrees_on_names_of_the_pipeline(shop, tmp_path):
    names = ("select", "line", "payload", "place", "staged", "now", "n" * 300)
    contract = contract_with(tmp_path, dict.fromkeys(names, ("integer", "public")))
    events = [shop.event(1, **dict.fromkeys(names, 7)), shop.event(2, **dict.fromkeys(names, "seven"))]

    report = shop.ingest(shop.write(events), contract=contract, options=IngestOptions())

    assert (report.rows_clean, report.rows_quarantined) == (1, 1)
    assert [row["gx_success"] for row in shop.rows("batches")] == [True]
    assert shop.rules() == [[f"{name}_is_integer" for name in names]]


@pytest.mark.parametrize("name", [*ADDED, "rowid", "_source_row", "_place", "_"])
def test_the_name_of_an_added_column_is_refused_with_its_place(tmp_path, name):
    with pytest.raises(ContractError) as refused:
        contract_with(tmp_path, {name: ("string", "public")})

    assert refused.value.where == f"schema.raw_events.properties.{name}"
    assert repr(name) in refused.value.reason
