"""What the packaged contracts compile to."""

import doctest

import pyarrow as pa
import pytest

import data_contracts
from data_contracts import load_contract

RAW_EVENTS = {
    "event_id": pa.string(),
    "event_type": pa.string(),
    "occurred_at": pa.timestamp("us", tz="UTC"),
    "received_at": pa.timestamp("us", tz="UTC"),
    "user_id": pa.string(),
    "session_id": pa.string(),
    "item_id": pa.string(),
    "quantity": pa.int32(),
    "price": pa.float64(),
    "currency": pa.string(),
    "category": pa.string(),
    "brand": pa.string(),
    "order_id": pa.string(),
    "dwell_ms": pa.int64(),
    "device_type": pa.string(),
    "country": pa.string(),
    "region": pa.string(),
    "referrer": pa.string(),
    "consent_analytics": pa.bool_(),
    "consent_personalization": pa.bool_(),
    "consent_sale": pa.bool_(),
}
ADDED_BY_ANONYMIZE = ["sequence", "event_date", "batch_id", "contract_version", "key_version"]


def test_raw_events_has_the_canonical_fields_in_order():
    assert load_contract("raw_events").arrow_schema() == pa.schema(RAW_EVENTS)


def test_events_has_the_columns_that_anonymize_keeps_and_adds():
    raw, events = load_contract("raw_events"), load_contract("events")
    kept = [name for name, treatment in raw.privacy_policy().items() if treatment.action != "drop"]

    assert [field.name for field in events.fields] == kept + ADDED_BY_ANONYMIZE
    for name in kept:
        assert events.field(name).arrow_type == raw.field(name).arrow_type, name


def test_identifiers_become_pseudonyms_and_time_and_place_become_coarse():
    policy = load_contract("raw_events").privacy_policy()

    pseudonymized = {name for name, treatment in policy.items() if treatment.action == "pseudonymize"}
    coarsened = {name: dict(entry.options) for name, entry in policy.items() if entry.action == "coarsen"}

    assert pseudonymized == {"user_id", "session_id", "order_id"}
    assert policy["event_id"].action == "surrogate"
    assert coarsened == {
        "occurred_at": {"truncate": "second"},
        "received_at": {"truncate": "minute"},
        "region": {"keep_prefix": "[A-Z]{2}-[A-Z0-9]{1,3}"},
        "referrer": {"host_only": True},
    }


def test_absent_consent_counts_as_given_by_the_yaml():
    contract = load_contract("raw_events")
    for name, path in (
        ("analytics", "$.consent.analytics"),
        ("personalization", "$.consent.personalization"),
        ("sale", "$.consent.sale"),
    ):
        field = contract.field(f"consent_{name}")
        assert field.default is True
        assert field.json_path == path
    assert "What an absent consent means: true" in contract.path.read_text(encoding="utf-8")


def test_the_required_fields():
    required = {
        name: {field.name for field in load_contract(name).fields if field.required} for name in TABLES
    }

    assert required["raw_events"] == {"event_id", "event_type", "occurred_at"}
    assert {"session_id", "consent_personalization", "event_date", "batch_id"} <= required["events"]
    assert required["exposures"] == {
        *("exposure_id", "kind", "recommendation_id", "occurred_at", "item_id", "placement")
    }
    assert required["items"] == {"item_id"}


TABLES = ("raw_events", "events", "exposures", "items")


@pytest.mark.parametrize("name", TABLES)
def test_uniqueness_and_types_are_not_among_the_row_rules(name):
    contract = load_contract(name)
    names = {rule.name for rule in contract.rules}

    keys = [] if name == "items" else [(contract.fields[0].name,)]  # the catalogue makes its own key
    assert [key.columns for key in contract.unique_keys] == keys
    assert not names & {field.type_rule for field in contract.fields}
    assert not any(rule.endswith("_is_unique") for rule in names)


@pytest.mark.parametrize(
    "rule",
    [
        "event_type_is_allowed",
        "occurred_at_is_required",
        "occurred_at_in_range",
        "occurred_at_not_in_future",
        "clock_skew",
        "user_or_session_is_required",
        "item_event_needs_item_id",
        "order_completed_needs_order_id",
        "price_is_finite",
        "price_in_range",
        "quantity_in_range",
        "currency_matches_pattern",
        "item_id_has_length",
    ],
)
def test_raw_events_names_its_rules(rule):
    assert load_contract("raw_events").rule(rule).severity == "error"


def test_references_name_their_table():
    references = {
        rule.name: (rule.reference, rule.severity)
        for rule in load_contract("exposures").rules
        if rule.reference
    }
    assert references == {
        "session_id_refers_to_events": ("events.session_id", "warning"),
        "item_id_refers_to_events": ("events.item_id", "warning"),
    }
    assert load_contract("events").rule("batch_id_refers_to_batches").severity == "error"


def test_only_what_was_shown_needs_its_position_and_its_origin():
    rules = {rule.name: rule.severity for rule in load_contract("exposures").rules}
    assert {name: rules[name] for name in rules if name.startswith("shown_")} == {
        "shown_needs_position": "error",
        "shown_needs_model_version": "error",
        "shown_needs_policy": "error",
        "shown_has_propensity": "warning",
    }


def test_times_of_exposures_are_cut_as_those_of_events():
    raw, exposures = load_contract("raw_events"), load_contract("exposures")
    for name in ("occurred_at", "received_at"):
        assert exposures.field(name).treatment == raw.field(name).treatment


def test_only_rules_on_now_use_the_parameter():
    asking = {rule.name for rule in load_contract("raw_events").rules if rule.uses_now}
    assert asking == {"occurred_at_not_in_future", "received_at_not_in_future"}


def test_an_unknown_field_or_rule_is_named_beside_the_known_ones():
    contract = load_contract("exposures")
    with pytest.raises(KeyError, match=r"no field 'prize'.*propensity"):
        contract.field("prize")
    with pytest.raises(KeyError, match=r"no rule 'prize'.*propensity_in_range"):
        contract.rule("prize")


def test_the_examples_in_the_docstring_hold():
    outcome = doctest.testmod(data_contracts)
    assert outcome.attempted == 3
    assert outcome.failed == 0
