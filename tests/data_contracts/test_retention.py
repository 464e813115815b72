"""Every table has a retention, and a wrong statement is refused with its place."""

from __future__ import annotations

import dataclasses

import pytest

from data_contracts.compatibility import compare
from data_contracts.contract import load_contract
from data_contracts.document import PACKAGED, packaged_tables, read_document
from data_contracts.errors import ContractError
from data_contracts.retention import DERIVED, every_retention, retention_of, retentions_in
from lastaisle.lake.tables import ALL_TABLES, PARTITIONS
from lastaisle.settings import Settings


def test_every_table_of_the_lake_has_exactly_one_retention():
    assert set(every_retention()) == set(ALL_TABLES)


def test_a_table_without_an_entry_is_refused():
    with pytest.raises(ContractError, match=r"no entry for the table 'wishes': state its retention there"):
        retention_of("wishes")


def test_every_table_with_an_own_contract_states_its_retention_there():
    for name in packaged_tables():
        path = PACKAGED / f"{name}.odcs.yaml"
        assert [one.table for one in retentions_in(path, read_document(path))] == [name]


def test_personal_rows_expire_or_say_why_not():
    kept = {name for name, one in every_retention().items() if one.is_personal and one.days is None}
    assert kept == {"erased"}
    assert "brings erased shoppers back" in retention_of("erased").reason


def test_the_age_of_partitioned_tables_is_never_the_time_of_the_event():
    """Old logs that were ingested today would expire tonight."""
    for name in PARTITIONS:
        retention = retention_of(name)
        if retention.days is not None:
            time = retention.age_of[1] if retention.age_of else retention.column
            assert time in ("ingested_at", "started_at"), name


def test_raw_days_of_contract_and_settings_agree():
    keep = Settings.from_env({}).lake.keep_raw_days
    assert {retention_of("raw_events").days, retention_of("quarantine").days} == {keep}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("value: 400", "value: 0", "value should be a whole number from 1, or null; received 0"),
        ("value: 400", "value: true", "received True"),
        (
            "unit: d\n",
            "unit: weeks\n",
            "unit should be one of d, day, days, y, yr, year, years; received 'weeks'",
        ),
        ("element: quarantine.ingested_at", "element: quarantine", "TABLE.COLUMN, received 'quarantine'"),
        ("value: raw identifiers", "value: secrets", "holds should be one of raw identifiers"),
        ("{property: purposes, value: [repair]}", "{property: purposes, value: repair}", "a list of texts"),
        ("- {property: legalBasis, value: legitimate interest}", "", "legalBasis missing"),
        ("{property: gone, value: expired}", "{property: gone, value: kept}", "gone should be expired"),
        ("property: ageOf", "property: agesOf", "received agesOf"),
    ],
)
def test_a_wrong_entry_is_refused(tmp_path, old, new, reason):
    text = DERIVED.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "derived.odcs.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ContractError) as raised:
        retentions_in(path, read_document(path))
    assert reason in str(raised.value)
    assert raised.value.where.startswith("slaProperties.retention of ")


def test_a_contract_of_the_pipeline_with_a_wrong_retention_does_not_load(edited):
    with pytest.raises(ContractError, match="holds should be one of"):
        load_contract(edited("value: raw identifiers", "value: everything"))


@pytest.mark.parametrize(
    ("value", "level", "sides"),
    [
        ("200", "breaking", ("readers",)),
        ("800", "breaking", ("privacy",)),
        ("null", "breaking", ("privacy",)),
    ],
)
def test_a_changed_retention_names_whom_it_breaks(edited, value, level, sides):
    changed = load_contract(edited("value: 400", f"value: {value}"))
    (change,) = [one for one in compare(load_contract("raw_events"), changed).changes if one.level == level]
    assert (change.where, change.breaks) == ("retention", sides)


def test_a_retention_stated_for_the_first_time_is_an_addition(edited, tmp_path):
    before = load_contract(edited("property: retention", "property: latency"))
    changes = compare(before, load_contract("raw_events")).changes
    assert ("retention", "stated", "addition") in [(one.where, one.what, one.level) for one in changes]


def test_years_count_365_days(tmp_path):
    path = tmp_path / "derived.odcs.yaml"
    text = DERIVED.read_text(encoding="utf-8").replace("value: 1095\n    unit: d", "value: 3\n    unit: y")
    path.write_text(text, encoding="utf-8")
    known = {one.table: one for one in retentions_in(path, read_document(path))}
    assert dataclasses.replace(known["accesses"]) == retention_of("accesses")
