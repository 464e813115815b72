"""A new field and a new rule are a matter of YAML: schema, rules, suite and policy all follow."""

from datetime import date

import duckdb
import pyarrow as pa

from data_contracts import Treatment, load_contract
from data_contracts.expectations import frame_from_arrow, gx_suite, validate_frame

FIELD = """      - name: coupon
        description: The code that the shopper typed.
        logicalType: string
        logicalTypeOptions: {maxLength: 8}
        classification: confidential
        customProperties:
          - {property: default, value: none}
          - {property: jsonPath, value: $.basket.coupon}

      - name: shipped_on
        logicalType: date
        logicalTypeOptions: {minimum: '2020-01-01', exclusiveMaximum: '2030-01-01'}
        classification: public

    quality:
      - name: coupon_needs_price_above_ten
        description: Coupons hold from ten on.
        type: custom
        engine: lastaisle
        severity: warning
        implementation:
          when: {event_type: order_completed, coupon: [TEN, ELEVEN]}
          compare: [price, '>', 10]

      - name: at_least_two_rows
        type: custom
        engine: greatExpectations
        implementation:
          type: expect_table_row_count_to_be_between
          kwargs: {min_value: 2}
"""


def test_adding_fields_and_rules_changes_schema_rules_suite_and_policy(edited):
    before = load_contract("raw_events")
    after = load_contract(edited("    quality:\n      - name: user_or", FIELD + "\n      - name: user_or"))

    assert after.arrow_schema() == before.arrow_schema().append(pa.field("coupon", pa.string())).append(
        pa.field("shipped_on", pa.date32())
    )
    assert after.privacy_policy() == before.privacy_policy() | {
        "coupon": Treatment("drop"),
        "shipped_on": Treatment("keep"),
    }
    assert after.field("coupon").default == "none"
    assert after.field("coupon").json_path == "$.basket.coupon"
    assert {rule.name for rule in after.rules} - {rule.name for rule in before.rules} == {
        "coupon_has_length",
        "shipped_on_in_range",
        "coupon_needs_price_above_ten",
    }
    assert suite_rules(after) - suite_rules(before) == {
        "coupon_is_string",
        "shipped_on_is_date",
        "coupon_has_length",
        "shipped_on_in_range",
        "coupon_needs_price_above_ten",
        "at_least_two_rows",
    }


def test_the_added_rules_hold_in_sql_and_in_great_expectations(edited):
    contract = load_contract(edited("    quality:\n      - name: user_or", FIELD + "\n      - name: user_or"))
    rows = [
        {"event_type": "order_completed", "coupon": "TEN", "price": 10.0, "shipped_on": date(2030, 1, 1)},
        {"event_type": "order_completed", "coupon": "TEN", "price": 10.5, "shipped_on": date(2020, 1, 1)},
        {
            "event_type": "order_completed",
            "coupon": "TWELVE PLUS",
            "price": 1.0,
            "shipped_on": date(2019, 12, 31),
        },
        {"event_type": "item_added", "coupon": "ELEVEN", "price": 1.0, "shipped_on": None},
    ]
    typed_rows = pa.Table.from_pylist(rows, contract.arrow_schema())

    report = validate_frame(contract, frame_from_arrow(typed_rows))
    expected = {"coupon_has_length": 1, "shipped_on_in_range": 2, "coupon_needs_price_above_ten": 1}

    assert {name: report.outcome(name).unexpected_count for name in expected} == expected
    for name, count in expected.items():
        predicate = contract.rule(name).predicate
        query = f"SELECT count(*) FROM typed_rows WHERE NOT coalesce({predicate}, TRUE)"
        assert duckdb.sql(query).fetchall() == [(count,)], name
    assert report.outcome("coupon_needs_price_above_ten").severity == "warning"
    assert report.outcome("at_least_two_rows").passed


def test_consent_by_default_is_one_word_of_yaml(edited):
    path = edited("            value: true\n", "            value: false\n")
    assert load_contract(path).field("consent_analytics").default is False


def suite_rules(contract):
    return {expectation.meta["rule"] for expectation in gx_suite(contract).expectations}
