"""Data contracts: YAML files that describe the tables, and the modules that enforce them.

Each table has one file, `<table>.odcs.yaml`, in the Open Data Contract Standard 3.1 (https://bitol.io). To
change a field or a rule, edit the YAML; no code changes. From the YAML the compiler makes

* typed fields and an Arrow schema               `Contract.fields`, `Contract.arrow_schema()`
* rules, each as DuckDB SQL and for GX           `Contract.rules`
* a Great Expectations suite                     `expectations.gx_suite(contract)`
* a privacy policy, each entry as DuckDB SQL     `Contract.privacy_policy()`
* the context features that models learn from    `Contract.features`, `context_features()`

The compiler refuses everything that it cannot enforce. An unknown option, type, classification or field name
raises a `ContractError` with the file, the place in the file and the reason. No rule is left out silently.

To add a field, add it under `properties`:

    - name: coupon
      description: The code that the shopper typed.
      logicalType: string                  # string integer number boolean timestamp date
      logicalTypeOptions: {maxLength: 40}  # minLength maxLength pattern minimum maximum exclusive...
                                           # multipleOf format
      required: false
      classification: internal             # one of the contract's `treatments`
      customProperties:
        - {property: default, value: none}             # replaces an absent value
        - {property: jsonPath, value: $.coupon.code}   # the place in canonical JSON, if not its name
        - {property: treatment, value: {coarsen: {keep_prefix: '[A-Z]+'}}}  # instead of the classification's
        - {property: spelling, value: country}         # or another one of spellings.py
        - {property: unreadable, value: drop}          # instead of refuse, which sends the row to quarantine

The rules of a field follow from its entry, and their names begin with its name: `coupon_is_string`,
`_is_required`, `_is_unique`, `_is_finite` (every number), `_in_range`, `_has_length`, `_is_multiple`,
`_matches_pattern`, `_is_allowed` (an entry under `quality` with `metric: invalidValues`, see
quality/metrics.py), `_refers_to_<table>` (an entry under `relationships`). A default satisfies all of them.

A spelling reads the usual ways to write a value, before the rules judge it: see spellings.py. With
`unreadable: drop`, a value that breaks a rule of its field is left out. The row stays, and ingestion counts
the rule among the warnings.

A treatment is keep, drop, pseudonymize (HMAC-SHA256 in hex, 128 bits), or coarsen with one of
`{truncate: second | minute | hour | day}`, `{keep_prefix: <regular expression>}`, `{host_only: true}`.
One text gives unrelated pseudonyms in two fields. Two fields that must join name the same domain:
`{pseudonymize: {domain: user_id}}`; the domain of a field that names none is the field's name.

To add a rule across fields, add it under the table's `quality`:

    - name: coupon_needs_order
      description: A coupon belongs to an order.
      type: custom
      engine: lastaisle
      severity: error                          # quarantines the row; a warning is only counted
      implementation:
        when: {event_type: [order_completed]}  # optional
        require: order_id                      # or require_any, allow, compare: see quality/crossfield.py

To let models learn from a column, list it under the contract's custom property `features`: see features.py.

A `quality` may also hold metrics of ODCS, queries (`type: sql`) and entries with `engine:
greatExpectations`. Each is enforced on all rows or refused: see quality/ and docs/contracts.md.

    >>> contract = load_contract("raw_events")
    >>> contract.field("consent_personalization").default
    True
    >>> contract.rule("quantity_in_range").predicate
    '"quantity" >= 1 AND "quantity" <= 100000'
"""

from __future__ import annotations

from data_contracts.contract import Contract, load_contract
from data_contracts.errors import ContractError
from data_contracts.features import Feature, context_features
from data_contracts.field import Field
from data_contracts.privacy import Treatment, domain_key, hmac_pads, hmac_variables
from data_contracts.rules import Rule

__all__ = [
    "Contract",
    "ContractError",
    "Feature",
    "Field",
    "Rule",
    "Treatment",
    "context_features",
    "domain_key",
    "hmac_pads",
    "hmac_variables",
    "load_contract",
]
