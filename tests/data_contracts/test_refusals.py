"""A contract that is itself wrong is refused with file, place and reason."""

import pytest

from data_contracts import ContractError, load_contract

PRICE = "schema.raw_events.properties.price"
SKEW = "schema.raw_events.quality.clock_skew"

# what is edited · what it becomes · the place named · part of the reason
WRONG = {
    "a tab for indentation": ("schema:\n", "schema:\n\t- x\n", "line", "not usable YAML"),
    "a key twice": ("status: active", "status: active\nstatus: retired", "document", "'status' stands twice"),
    "a key too many": ("status: active", "state: active", "document", "'state'"),
    "no version": ("version: 2.0.0\n", "", "document", "'version' is a required property"),
    "another ODCS": ("apiVersion: v3.1.0", "apiVersion: v2.2.2", "apiVersion", "should be one of v3.0.0"),
    "unknown logicalType": (
        "logicalType: number",
        "logicalType: money",
        f"{PRICE}.logicalType",
        "'money' is not one of",
    ),
    "a type that tables cannot hold": (
        "logicalType: boolean",
        "logicalType: object",
        "schema.raw_events.properties.consent_analytics",
        "logicalType should be one of string",
    ),
    "required is no boolean": (
        "required: true\n        unique: true",
        "required: yes\n        unique: true",
        "schema.raw_events.properties.event_id.required",
        "'yes' is not of type 'boolean'",
    ),
    "an option that the type lacks": (
        "{format: f64, minimum: 0, exclusiveMaximum: 1000000000}",
        "{format: f64, minLength: 0}",
        PRICE,
        "minLength",
    ),
    "an option of another type": (
        "{format: i64, minimum: 0, maximum: 86400000}",
        "{format: i64, multipleOf: 0.01}",
        "schema.raw_events.properties.dwell_ms",
        "multipleOf: 0.01 is no integer",
    ),
    "a jsonPath inside the value of another": (
        "value: $.consent.analytics",
        "value: $.consent.personalization.analytics",
        "schema.raw_events.properties.consent_personalization.customProperties",
        "overlap",
    ),
    "two jsonPaths that differ in capitals": (
        "value: $.consent.analytics",
        "value: $.Consent.Personalization",
        "schema.raw_events.properties.consent_personalization.customProperties",
        "only in its capitals",
    ),
    "a custom property of the table": (
        "    physicalType: table\n",
        "    physicalType: table\n    customProperties: [{property: uniqueTogether, value: [price]}]\n",
        "schema.raw_events.customProperties",
        "received uniqueTogether",
    ),
    "a bound of another type": (
        "minimum: '2000-01-01T00:00:00Z'",
        "minimum: '2000-01-01T00:00:00'",
        "schema.raw_events.properties.occurred_at",
        "is no timestamp",
    ),
    "a field twice": ("- name: brand", "- name: price", PRICE, "stands twice"),
    "a field name with a space": (
        "- name: brand",
        "- name: Brand Name",
        "schema.raw_events.properties.Brand Name",
        "lower_snake_case",
    ),
    "unknown classification": (
        "classification: restricted",
        "classification: secret",
        "schema.raw_events.properties.event_id",
        "classification should be one of public, internal, restricted, confidential; received 'secret'",
    ),
    "no classification": (
        "        classification: restricted\n",
        "",
        "schema.raw_events.properties.event_id",
        "classification is missing",
    ),
    "unknown treatment": (
        "restricted: pseudonymize",
        "restricted: hash",
        "customProperties.treatments",
        "'hash'",
    ),
    "unknown way to coarsen": ("{truncate: minute}", "{truncate: fortnight}", "received_at", "'fortnight'"),
    "a treatment for another type": (
        "{coarsen: {host_only: true}}",
        "{coarsen: {truncate: hour}}",
        "schema.raw_events.properties.referrer",
        "truncate needs a timestamp",
    ),
    "a default of another type": (
        "value: true\n            description",
        "value: 'yes'\n            description",
        "schema.raw_events.properties.consent_analytics",
        "'yes' is no boolean",
    ),
    "a misspelt customProperty": (
        "property: jsonPath",
        "property: jsonpath",
        "consent_analytics",
        "jsonpath",
    ),
    "a pattern that is none": (
        "'^[A-Z]{3}$'",
        "'^[A-Z{3}$'",
        "properties.currency",
        "unterminated character set",
    ),
    "a pattern that engines read differently": (
        r"'^[A-Z]{3}$'",
        r"'^\w{3}$'",
        "properties.currency",
        r"\w means",
    ),
    "a pattern that DuckDB refuses": (
        "'^[A-Z]{3}$'",
        "'^[A-Z]{3000}$'",
        "rule currency_matches_pattern",
        "DuckDB refuses it",
    ),
    "a rule on an unknown field": (
        "require: order_id",
        "require: order_nr",
        "schema.raw_events.quality.order_completed_needs_order_id",
        "no field is called 'order_nr'",
    ),
    "a condition on an unknown field": (
        "when: {event_type: order_completed}",
        "when: {kind: order_completed}",
        "order_completed_needs_order_id",
        "no field is called 'kind'",
    ),
    "a comparison of unlike things": (
        "compare: [occurred_at, <=, received_at]",
        "compare: [occurred_at, <=, price]",
        SKEW,
        "occurred_at is a timestamp, price a number",
    ),
    "an unknown operator": (
        "[occurred_at, <=, received_at]",
        "[occurred_at, before, received_at]",
        SKEW,
        "before",
    ),
    "a tolerance that is no time": ("tolerance: 5 minutes", "tolerance: 5", "not_in_future", "received 5"),
    "a rule with two forms": (
        "compare: [occurred_at, <=, received_at]",
        "require: price\n          compare: [occurred_at, <=, received_at]",
        SKEW,
        "takes one of require",
    ),
    "a rule twice": ("- name: clock_skew", "- name: price_in_range", "raw_events.quality", "stands twice"),
    "a rule without a name": (
        "- name: clock_skew\n        description",
        "- description",
        "quality",
        "lower_snake_case",
    ),
    "an unknown engine": (
        "engine: lastaisle",
        "engine: soda",
        "user_or_session_is_required",
        "engine: lastaisle",
    ),
    "an unknown severity": (
        "engine: lastaisle",
        "engine: lastaisle\n        severity: fatal",
        "user_or_session_is_required",
        "'fatal'",
    ),
    "a path that is none": (
        "$.consent.analytics",
        "consent-analytics",
        "consent_analytics",
        "should look like",
    ),
    "what only ODCS 3.2 has": (
        "        classification: public\n        quality:",
        "        classification: public\n        enum: [{value: a}]\n        quality:",
        "properties.event_type",
        "enum belongs to ODCS 3.2",
    ),
    "a prefix that DuckDB refuses": (
        "'[A-Z]{2}-[A-Z0-9]{1,3}'",
        "'(?=DE)[A-Z]{2}'",
        "properties.region: treatment",
        "DuckDB refuses it",
    ),
    "an allowed value of another type": ("- page_viewed", "- 7", "properties.event_type", "7 is no string"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_contract_is_refused_with_file_place_and_reason(edited, case):
    old, new, where, reason = WRONG[case]
    path = edited(old, new)

    with pytest.raises(ContractError) as refused:
        load_contract(path)

    assert refused.value.path == path
    assert where in refused.value.where
    assert reason in refused.value.reason
    place = path if refused.value.line is None else f"{path}:{refused.value.line}"
    assert str(refused.value) == f"{place}: {refused.value.where}: {refused.value.reason}"


@pytest.mark.parametrize("content", [b"", b"- a\n- list\n", b"just text", b"\xff\xfe\x00"])
def test_a_file_that_is_no_document_is_refused(tmp_path, content):
    path = tmp_path / "wrong.odcs.yaml"
    path.write_bytes(content)
    with pytest.raises(ContractError) as refused:
        load_contract(path)
    assert refused.value.path == path


def test_an_unknown_contract_is_named_beside_the_packaged_ones():
    with pytest.raises(ContractError, match="events, exposures, items, raw_events"):
        load_contract("orders")
