"""A rule about a batch as a whole judges all sound rows, and refuses the batch before any commit."""

import pytest

from data_contracts.contract import load_contract
from data_contracts.document import PACKAGED
from lastaisle.errors import ExitCode

GX = "type: custom, engine: greatExpectations"
PLACE = "\n    quality:\n      - name: user"
FIELD_PLACE = "      - name: order_id\n"


@pytest.fixture
def under(shop, tmp_path):
    """Return a function that makes the shop use a contract with further entries of quality."""

    def use(*entries):
        text = (PACKAGED / "raw_events.odcs.yaml").read_text(encoding="utf-8")
        assert PLACE in text
        listed = "".join(f"      - {entry}\n" for entry in entries)
        path = tmp_path / "raw_events.odcs.yaml"
        path.write_text(
            text.replace(PLACE, f"\n    quality:\n{listed}      - name: user", 1), encoding="utf-8"
        )
        shop.contracts["contract"] = load_contract(path)
        return shop

    return use


# entry · whether a batch of 4 sound and 1 broken row is taken in
ENTRIES = [
    ("{name: rows, metric: rowCount, mustBe: 4}", True),
    ("{name: rows, metric: rowCount, mustBe: 5}", False),
    (f"{{{GX}, implementation: {{type: expect_table_row_count_to_equal, kwargs: {{value: 4}}}}}}", True),
    (
        f"{{{GX}, implementation: "
        "{type: expect_table_row_count_to_be_between, kwargs: {min_value: 500}}}",
        False,
    ),
    ("{name: n, type: sql, query: 'SELECT count(*) FROM {object} WHERE price > 9', mustBe: 4}", True),
    ("{name: n, type: sql, query: 'SELECT avg(price) FROM raw_events', mustBeLessThan: 9}", False),
    ("{name: n, type: sql, query: 'SELECT bool_and(price > 9) FROM raw_events', mustBe: true}", True),
    ("{name: n, type: sql, query: 'SELECT max(item_id) FROM raw_events', mustBe: 1}", False),
    ("{name: n, type: sql, query: 'SELECT sum(item_id::INTEGER) FROM raw_events', mustBe: 1}", False),
    ("{metric: duplicateValues, mustBe: 0, arguments: {properties: [currency, price]}}", False),
    ("{metric: duplicateValues, mustBe: 0, arguments: {properties: [item_id, price]}}", True),
    (
        f"{{{GX}, implementation: {{type: expect_column_values_to_be_unique, kwargs: {{column: price}}}}}}",
        False,
    ),
]


@pytest.mark.parametrize(("entry", "taken"), ENTRIES)
def test_a_batch_is_judged_by_all_its_sound_rows(under, entry, taken):
    shop = under(entry)
    source = shop.write([*(shop.event(number) for number in range(4)), shop.event(9, price=-1)])

    report = shop.ingest(source)

    assert (report.rows_clean, report.rows_quarantined) == ((4, 1) if taken else (0, 0))
    assert list(report.files_failed) == ([] if taken else [source])
    if not taken:
        assert "Nothing of the batch was committed" in report.files_failed[source]
        assert shop.lake.version("raw_events") is None
        assert shop.lake.version("quarantine") is None


def test_the_other_files_of_a_folder_are_taken_in(under, tmp_path):
    shop = under("{name: rows, metric: rowCount, mustBeGreaterThan: 1}")
    (shop.folder / "logs").mkdir()
    bad = shop.write([shop.event(1)], "logs/a.jsonl")
    shop.write([shop.event(2), shop.event(3)], "logs/b.jsonl")

    report = shop.ingest(str(shop.folder / "logs"))

    assert list(report.files_failed) == [bad]
    assert "rows: measured 1, should be more than 1" in report.files_failed[bad]
    assert {row["event_id"] for row in shop.rows("raw_events")} == {"event-2", "event-3"}
    assert report.exit_code == ExitCode.FAILED


def test_a_warning_is_reported_and_the_batch_taken_in(under, caplog):
    shop = under("{name: rows, metric: rowCount, mustBe: 9, severity: warning}")

    report = shop.ingest(shop.write([shop.event(1)]))

    assert (report.rows_clean, report.warnings_by_rule) == (1, {"rows": 1})
    assert "rows: measured 1, should be 9" in caplog.text


def test_a_batch_that_is_read_again_is_judged_as_at_first(under):
    shop = under("{name: rows, metric: rowCount, mustBe: 2}")
    shop.ingest(shop.write([shop.event(1), shop.event(2)], "a.jsonl"))

    again = shop.ingest(shop.write([shop.event(2), shop.event(1)], "b.jsonl"))

    assert (again.rows_duplicate, again.files_failed) == (2, {})


def test_rows_of_a_metric_with_must_be_zero_go_to_quarantine(under, shop, tmp_path):
    text = (PACKAGED / "raw_events.odcs.yaml").read_text(encoding="utf-8")
    entry = (
        "        quality:\n"
        "          - {metric: missingValues, mustBe: 0, arguments: {missingValues: [null, gone]}}\n"
        "          - {metric: invalidValues, mustBeLessThan: 60, unit: percent, "
        "arguments: {pattern: '^[A-Z]'}}\n"
    )
    assert FIELD_PLACE in text
    path = tmp_path / "raw_events.odcs.yaml"
    path.write_text(text.replace(FIELD_PLACE, f"{FIELD_PLACE}{entry}", 1), encoding="utf-8")
    shop.contracts["contract"] = load_contract(path)
    orders = ["Ekström", "gone", None, "acme"]

    shop.ingest(shop.write([shop.event(number, order_id=order) for number, order in enumerate(orders)]))

    assert shop.rules() == [["order_id_is_not_missing"], ["order_id_is_not_null"]]
    assert [row["order_id"] for row in shop.rows("raw_events")] == ["Ekström", "acme"]


def test_great_expectations_judges_rules_of_a_row_beside_the_sql(under):
    shop = under(
        f"{{name: told, {GX}, implementation: {{type: expect_column_values_to_be_between, "
        "kwargs: {column: price, max_value: 10}}}",
        "{name: rows, metric: rowCount, mustBeGreaterThan: 1}",
    )
    shop.options = type(shop.options)(gx_sample_rows=100)

    report = shop.ingest(shop.write([shop.event(1), shop.event(2, price=11.5), shop.event(3)]))

    assert (report.rows_clean, report.quarantined_by_rule) == (2, {"told": 1})
