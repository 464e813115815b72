"""A unique key is a field or a tuple of fields; a key that nothing enforces is refused."""

import pyarrow as pa
import pytest

from data_contracts import ContractError, load_contract
from data_contracts.expectations import frame_from_arrow, validate_frame
from data_contracts.uniqueness import UniqueKey
from tests.data_contracts.public_table import load_public_table


def load(folder, **fields):
    """Return a contract of table t with public text fields that have further keys of YAML."""
    return load_public_table(
        folder, (f"{name}, logicalType: string, {more}" for name, more in fields.items())
    )


def test_a_composite_primary_key_is_one_key_of_required_fields(tmp_path):
    contract = load(
        tmp_path,
        a="primaryKey: true, primaryKeyPosition: 1",
        b="primaryKey: true, primaryKeyPosition: 2",
        c="",
    )

    assert contract.unique_keys == (UniqueKey("a_and_b_is_unique", ("a", "b")),)
    assert [field.required for field in contract.fields] == [True, True, False]
    rows = pa.table({"a": ["x", "x", "y", "y"], "b": ["1", "2", "1", "1"], "c": ["z"] * 4})
    outcome = validate_frame(contract, frame_from_arrow(rows)).outcome("a_and_b_is_unique")
    assert (outcome.passed, outcome.unexpected_count, outcome.problem) == (False, 2, "")
    assert validate_frame(contract, frame_from_arrow(rows.slice(0, 3))).passed


def test_unique_and_a_primary_key_of_one_field_are_keys_of_one_field(tmp_path):
    contract = load(tmp_path, a="primaryKey: true", b="unique: true", c="unique: true, primaryKey: false")

    assert [key.columns for key in contract.unique_keys] == [("b",), ("c",), ("a",)]
    rows = pa.table({"a": ["x", "y"], "b": [None, None], "c": ["z", "z"]}, schema=contract.arrow_schema())
    report = validate_frame(contract, frame_from_arrow(rows))
    assert {outcome.name for outcome in report.failures} == {"c_is_unique"}


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ("primaryKeyPosition: 1", "unique: true", "primaryKeyPosition belongs to a field with primaryKey"),
        (
            "primaryKey: true, primaryKeyPosition: 1",
            "primaryKey: true, primaryKeyPosition: 1",
            "two fields have one primaryKeyPosition, received [1, 1]",
        ),
    ],
)
def test_a_key_that_contradicts_itself_is_refused(tmp_path, a, b, reason):
    with pytest.raises(ContractError) as refused:
        load(tmp_path, a=a, b=b)

    assert refused.value.where.startswith("schema.t.properties")
    assert reason in refused.value.reason


def test_the_event_id_must_be_unique_alone(edited):
    old = "required: true\n        unique: true"
    composite = edited(old, "primaryKey: true").read_text()
    path = edited(old, "primaryKey: true")
    path.write_text(composite.replace("- name: item_id\n", "- name: item_id\n        primaryKey: true\n", 1))

    for wrong in (path, edited(old, "required: true", "events")):
        with pytest.raises(ContractError) as refused:
            load_contract(wrong)
        assert refused.value.where.endswith(".properties.event_id")
        assert "event_id alone is the key" in refused.value.reason


def test_only_the_event_id_is_unique_in_events(edited):
    path = edited("- name: order_id\n", "- name: order_id\n        unique: true\n", "events")

    with pytest.raises(ContractError, match="unique belongs there") as refused:
        load_contract(path)

    assert refused.value.where == "schema.events.properties.order_id"
