"""A field may refer to a column of the lake: of any table name, of text or of integers."""

import pyarrow as pa
import pytest

from data_contracts import ContractError, load_contract
from data_contracts.document import PACKAGED
from lastaisle.ingest.options import IngestOptions

FIELD = "      - name: {}\n"


def referring(folder, **targets):
    """Return raw_events in which fields refer to a table.column each."""
    text = (PACKAGED / "raw_events.odcs.yaml").read_text(encoding="utf-8")
    for name, target in targets.items():
        old = FIELD.format(name)
        assert old in text
        text = text.replace(old, f"{old}        relationships: [{{to: {target}}}]\n", 1)
    path = folder / "referring.odcs.yaml"
    path.write_text(text, encoding="utf-8")
    return load_contract(path)


def fill(lake, table, **columns):
    lake.append(table, pa.table(columns), key="first")


@pytest.mark.parametrize("table", ["typed", "staged", "taken", "users", "texts", "select", "skus"])
def test_a_table_of_any_name_gives_the_allowed_values(shop, tmp_path, table):
    fill(shop.lake, table, id=pa.array(["item-1", None]), size=pa.array([3, 2**31 - 1], pa.int64()))
    contract = referring(tmp_path, item_id=f"{table}.id", quantity=f"{table}.size")
    events = [shop.event(1, quantity=3), shop.event(2, quantity=3), shop.event(1, event_id="x", quantity=4)]

    report = shop.ingest(shop.write(events), contract=contract, options=IngestOptions())

    assert report.rows_clean == 1
    assert shop.rules() == [[f"item_id_refers_to_{table}"], [f"quantity_refers_to_{table}"]]
    assert [row["gx_success"] for row in shop.rows("batches")] == [True]


def test_a_table_that_does_not_exist_yet_allows_no_value(shop, tmp_path):
    contract = referring(tmp_path, item_id="skus.id", quantity="skus.size")

    report = shop.ingest(shop.write([shop.event(1, quantity=1)]), contract=contract, options=IngestOptions())

    assert report.quarantined_by_rule == {"item_id_refers_to_skus": 1, "quantity_refers_to_skus": 1}


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("skus.nr", "the table skus has no column 'nr'; it has id, size"),
        ("skus.size", "skus.size is a column of int64, but item_id is of type string"),
    ],
)
def test_a_column_that_cannot_be_referred_to_is_named(shop, tmp_path, target, reason):
    fill(shop.lake, "skus", id=pa.array(["item-1"]), size=pa.array([3], pa.int64()))
    contract = referring(tmp_path, item_id=target)

    with pytest.raises(ContractError, match=reason) as refused:
        shop.ingest(shop.write([shop.event(1)]), contract=contract)

    assert refused.value.where == "schema.raw_events.properties.item_id.relationships"
    assert shop.lake.version("raw_events") is None


@pytest.mark.parametrize(
    ("relationship", "reason"),
    [
        ("{to: o.id, customProperties: [{property: seveirty, value: warning}]}", "unknown property seveirty"),
        ("{to: o.id, customProperties: [{property: severity, value: fatal}]}", "received 'fatal'"),
        ("{to: o.id, type: looksLike}", "looksLike"),
        ("{to: [o.id, o.nr]}", "should be table.column, received ['o.id', 'o.nr']"),
    ],
)
def test_a_relationship_that_nothing_enforces_is_refused(tmp_path, relationship, reason):
    text = (PACKAGED / "raw_events.odcs.yaml").read_text(encoding="utf-8")
    name = FIELD.format("item_id")
    path = tmp_path / "wrong.odcs.yaml"
    path.write_text(text.replace(name, f"{name}        relationships: [{relationship}]\n", 1))

    with pytest.raises(ContractError) as refused:
        load_contract(path)

    assert refused.value.where.startswith("schema.raw_events.properties.item_id")
    assert reason in refused.value.reason
