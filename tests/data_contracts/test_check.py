"""`contracts check` lists every error of every table, and reads the documents that users of ODCS have."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from data_contracts import ContractError, load_contract
from data_contracts.check import check_contract
from data_contracts.errors import ContractErrors
from lastaisle import cli

BROKEN = {
    "word": {"logicalType": "string", "logicalTypeOptions": {"pattern": "("}},
    "Number": {"logicalType": "integer"},
    "plain": {},
    "items": {"logicalType": "array"},
}
PLACES = [
    "schema.small.properties.plain",
    "schema.small.properties.Number",
    "schema.small.properties.items",
    "schema.small.properties.word",
    "schema.small.properties.word.quality.0",
    "schema.small.quality.0",
]
#: The line of each error: the place itself, or the nearest place above it that the file has.
LINES = [
    "- name: plain",
    "- name: Number",
    "- name: items",
    "- name: word",
    "- metric: rowCount",
    "- type: custom",
]
GOOD = {
    "word": {"logicalType": "string"},
    "number": {"logicalType": "integer", "classification": "restricted"},
    "price": {"logicalType": "number"},
}


@pytest.fixture
def broken(written):
    return written(
        fields=BROKEN,
        field_quality=[{"metric": "rowCount", "mustBe": 0}],
        quality=[
            {"type": "custom", "engine": "soda", "implementation": "x"},
            {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["plain", "items"]}},
        ],
    )


def test_every_error_is_listed_and_none_that_only_follows(broken):
    checked = check_contract(broken)
    assert [error.where for error in checked.errors] == PLACES
    assert checked.tables == ()
    assert checked.errors[0].reason == "logicalType is missing"


def test_loading_names_every_error_too(broken):
    with pytest.raises(ContractErrors) as refused:
        load_contract(broken)
    assert [error.where for error in refused.value.errors] == PLACES
    assert str(refused.value).count("\n") == len(PLACES) - 1


def test_the_command_checks_several_files_and_writes_a_report(broken, written, tmp_path):
    good, report = written(name="good", fields=GOOD), tmp_path / "report.json"

    ended = CliRunner().invoke(
        cli.app, ["contracts", "check", str(broken), "raw_events", str(good), "--report", str(report)]
    )

    assert ended.exit_code == 2
    assert ended.stdout.count("error: ") == len(PLACES)
    assert f"raw_events {load_contract('raw_events').version}" in ended.stdout
    assert "anonymize would drop number: only a string becomes a pseudonym" in ended.stdout
    first, second, third = json.loads(report.read_text())["contracts"]
    assert [error["where"] for error in first["errors"]] == PLACES
    lines = broken.read_text().splitlines()
    assert [lines[error["line"] - 1].strip() for error in first["errors"]] == LINES
    assert (second["errors"], second["warnings"]) == ([], [])
    assert third["tables"][0]["fields"] == ["word", "number", "price"]


@pytest.mark.parametrize("given", ["nope.yaml", "", "."])
def test_a_file_that_is_none_is_an_error_of_the_report(given):
    ended = CliRunner().invoke(cli.app, ["contracts", "check", given, "events"])
    assert ended.exit_code == 2
    assert "there is no such contract" in ended.stdout
    assert "events 1." in ended.stdout


@pytest.mark.parametrize("version", ["v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0"])
def test_the_versions_of_odcs_that_are_read(written, version):
    rule = {"rule": "rowCount", "mustBeGreaterThan": 3, "type": "library"}
    metric = {"metric": "rowCount", "mustBeGreaterThan": 3}
    quality = [rule if version.startswith("v3.0") else metric]
    contract = load_contract(written(apiVersion=version, quality=quality))
    assert [rule.name for rule in contract.batch_rules] == ["row_count"]


@pytest.mark.parametrize("version", ["v2.2.2", "v3.2.0", "v3.1.1", "3.1.0", None, 3])
def test_another_version_is_refused_by_its_name(written, version):
    with pytest.raises(ContractError, match=r"apiVersion: should be one of v3\.0\.0, .* received"):
        load_contract(written(apiVersion=version))


def with_tables(path, *names):
    document = yaml.safe_load(path.read_text())
    document["schema"] = [{**document["schema"][0], "name": name} for name in names]
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_file_may_hold_several_tables(written):
    path = with_tables(written(name="orders"), "customers", "orders")
    assert load_contract(path).name == "orders"
    assert load_contract(path, table="customers").name == "customers"
    assert [table.name for table in check_contract(path).tables] == ["customers", "orders"]
    with pytest.raises(ContractError, match="no table is called 'items'; there are customers, orders"):
        load_contract(path, table="items")


def test_a_table_that_nothing_chooses_is_asked_for(written):
    path = with_tables(written(name="shop"), "customers", "orders")
    with pytest.raises(ContractError, match="name one of the 2 tables customers, orders"):
        load_contract(path)


def test_a_table_twice_or_none_is_refused(written):
    with pytest.raises(ContractError, match="the table 'orders' stands twice"):
        load_contract(with_tables(written(), "orders", "orders"))
    with pytest.raises(ContractError, match="at least one table, received none"):
        load_contract(with_tables(written()))


def test_a_contract_without_treatments_has_default_treatments(written):
    fields = {
        "open": {"logicalType": "string", "classification": "public"},
        "inner": {"logicalType": "integer", "classification": "internal"},
        "person": {"logicalType": "string", "classification": "restricted"},
        "number": {"logicalType": "integer", "classification": "restricted"},
        "secret": {"logicalType": "string", "classification": "confidential"},
    }
    policy = load_contract(written(fields=fields)).privacy_policy()
    assert {name: treatment.action for name, treatment in policy.items()} == {
        "open": "keep",
        "inner": "keep",
        "person": "pseudonymize",
        "number": "drop",
        "secret": "drop",
    }


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("", "classification is missing"),
        ("PII", "one of public, internal, restricted, confidential; received 'PII'"),
    ],
)
@pytest.mark.parametrize(
    "own", [{}, {"customProperties": [{"property": "treatments", "value": {"public": "keep"}}]}]
)
def test_a_field_whose_sensitivity_nothing_says_is_refused_with_its_line(written, given, problem, own):
    """No treatment is guessed: neither a default one, nor that of the contract."""
    fields = {
        "open": {"logicalType": "string"},
        "mail": {"logicalType": "string", "classification": "public"},
    }
    if own:
        problem = problem.replace(", internal, restricted, confidential", "")
    path = written(fields=fields, **own)
    head, tail = path.read_text().split("- name: mail")
    told = f"    classification: {given}\n" if given else ""
    path.write_text("".join([head, "- name: mail", tail.replace("    classification: public\n", told, 1)]))
    with pytest.raises(ContractError, match=problem) as refused:
        load_contract(path)
    error = refused.value
    assert (error.where, error.path) == ("schema.small.properties.mail", path)
    assert path.read_text().splitlines()[error.line - 1].strip() == "- name: mail"
    assert str(error).startswith(f"{path}:{error.line}: schema.small.properties.mail: ")


@pytest.mark.parametrize("table", ["raw_events", "events", "exposures", "items"])
def test_a_table_of_the_pipeline_says_its_treatments_itself(written, table):
    with pytest.raises(ContractError, match=f"{table} should map each classification to a treatment"):
        load_contract(with_tables(written(), table))
