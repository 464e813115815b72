"""Which changes of a contract break whom, and which version they need."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from data_contracts.compatibility import compare
from data_contracts.contract import load_contract
from lastaisle import cli

BASE = """
apiVersion: v3.1.0
kind: DataContract
id: clicks
name: Clicks
version: 1.2.3
status: active
customProperties:
  - property: treatments
    value: {public: keep, internal: keep, pseudonymous: pseudonymize, restricted: drop}
schema:
  - name: clicks
    properties:
      - {name: item, logicalType: string, required: true, classification: public,
         logicalTypeOptions: {minLength: 1, maxLength: 20, pattern: '^[a-z]+$'}}
      - {name: user, logicalType: string, classification: pseudonymous}
      - {name: host, logicalType: string, classification: internal,
         customProperties: [{property: treatment, value: {coarsen: {host_only: true}}}]}
      - {name: nation, logicalType: string, classification: public,
         customProperties: [{property: spelling, value: country}, {property: unreadable, value: drop}]}
      - {name: at, logicalType: timestamp, classification: internal,
         logicalTypeOptions: {minimum: '2000-01-01T00:00:00Z'},
         customProperties: [{property: treatment, value: {coarsen: {truncate: minute}}}]}
      - {name: seen_at, logicalType: timestamp, classification: internal}
      - {name: day, logicalType: date, classification: internal, partitioned: true, partitionKeyPosition: 1}
      - {name: price, logicalType: number, classification: internal,
         logicalTypeOptions: {minimum: 0, maximum: 100}}
      - {name: quantity, logicalType: integer, classification: internal,
         customProperties: [{property: default, value: 1}]}
      - {name: kind, logicalType: string, classification: public,
         quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [view, buy]}}]}
    quality:
      - {name: somebody, type: custom, engine: lastaisle, implementation: {require_any: [user, host]}}
      - {name: buys_have_price, type: custom, engine: lastaisle,
         implementation: {when: {kind: [view, buy]}, require: price}}
      - {name: not_in_future, type: custom, engine: lastaisle,
         implementation: {compare: [at, <=, $now], tolerance: 5 minutes}}
      - {name: skew, type: custom, engine: lastaisle,
         implementation: {compare: [at, <, seen_at], tolerance: 5 minutes}}
      - {name: cheap, type: custom, engine: lastaisle, severity: warning,
         implementation: {compare: [price, <=, 50]}}
      - {name: some_rows, type: custom, engine: greatExpectations,
         implementation: {type: expect_table_row_count_to_be_between, kwargs: {min_value: 1}}}
"""
WARNING = """      - {name: priced, type: custom, engine: lastaisle, severity: warning,
         implementation: {require: price}}
"""


@pytest.fixture
def changed(tmp_path):
    """Compare the contract with what a function makes of its document."""

    def load(name, document):
        path = tmp_path / f"{name}.odcs.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return load_contract(path)

    def compared(change, before=lambda document: None):
        document = yaml.safe_load(BASE)
        before(document)
        old = load("old", document)
        change(document)
        return compare(old, load("new", document))

    return compared


def field(document, name):
    return next(entry for entry in document["schema"][0]["properties"] if entry["name"] == name)


def rule(document, name):
    return next(entry for entry in document["schema"][0]["quality"] if entry["name"] == name)


def options(name, **given):
    return lambda document: field(document, name).setdefault("logicalTypeOptions", {}).update(given)


def put(name, **given):
    return lambda document: field(document, name).update(given)


def body(name, **given):
    return lambda document: rule(document, name).update(implementation=given)


def without(name, option):
    return lambda document: field(document, name)["logicalTypeOptions"].pop(option)


def add_field(**given):
    entry = {"name": "extra", "logicalType": "string", "classification": "public", **given}
    return lambda document: document["schema"][0]["properties"].append(entry)


def add_rule(name="new_rule", severity="error", **implementation):
    entry = {"name": name, "type": "custom", "engine": "lastaisle", "severity": severity}
    return lambda document: document["schema"][0]["quality"].append(
        {**entry, "implementation": implementation}
    )


def drop(kind, name):
    find = field if kind == "properties" else rule
    return lambda document: document["schema"][0][kind].remove(find(document, name))


def valid(*values):
    quality = [{"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": list(values)}}]
    return put("kind", quality=quality)


def custom(**values):
    return {"customProperties": [{"property": name, "value": value} for name, value in values.items()]}


STRICTER = {
    "field removed": (drop("properties", "quantity"), "quantity"),
    "table renamed": (lambda document: document["schema"][0].update(name="taps"), "table"),
    "required field added": (add_field(required=True), "extra"),
    "field newly required": (put("user", required=True), "user_is_required"),
    "field newly unique": (put("user", unique=True), "user"),
    "other type": (put("quantity", logicalType="number", **custom(default=1)), "quantity"),
    "wider type": (options("quantity", format="i64"), "quantity"),
    "default changed": (put("quantity", **custom(default=2)), "quantity"),
    "default removed": (put("quantity", customProperties=[]), "quantity"),
    "spelling removed": (put("nation", **custom(unreadable="drop")), "nation"),
    "unreadable values refused": (put("nation", **custom(spelling="country")), "nation"),
    "path changed": (put("user", **custom(jsonPath="$.context.user")), "user"),
    "lower bound raised": (options("price", minimum=1), "price_in_range"),
    "upper bound lowered": (options("price", maximum=99), "price_in_range"),
    "bound made exclusive": (
        put("price", logicalTypeOptions={"exclusiveMinimum": 0, "maximum": 100}),
        "price_in_range",
    ),
    "earliest time later": (options("at", minimum="2000-01-01T00:00:01Z"), "at_in_range"),
    "longer at least": (options("item", minLength=2), "item_has_length"),
    "shorter at most": (options("item", maxLength=19), "item_has_length"),
    "another pattern": (options("item", pattern="^[a-z0-9]+$"), "item_matches_pattern"),
    "value no longer allowed": (valid("view"), "kind_is_allowed"),
    "rule added": (add_rule(require="user"), "new_rule"),
    "fewer fields suffice": (body("somebody", require="user"), "somebody"),
    "rule for more rows": (body("buys_have_price", require="price"), "buys_have_price"),
    "less tolerance to now": (
        body("not_in_future", compare=["at", "<=", "$now"], tolerance="4 minutes"),
        "not_in_future",
    ),
    "less tolerance": (body("skew", compare=["at", "<", "seen_at"], tolerance="1 minute"), "skew"),
    "comparison turned": (body("skew", compare=["at", ">", "seen_at"], tolerance="5 minutes"), "skew"),
    "warning became error": (lambda document: rule(document, "cheap").update(severity="error"), "cheap"),
    "expectation changed": (
        body("some_rows", type="expect_table_row_count_to_be_between", kwargs={"min_value": 9}),
        "some_rows",
    ),
    "pseudonym becomes value": (put("user", **custom(treatment="keep")), "user"),
    "pseudonym of a shared domain": (
        put("user", **custom(treatment={"pseudonymize": {"domain": "account"}})),
        "user",
    ),
    "finer time": (put("at", **custom(treatment={"coarsen": {"truncate": "second"}})), "at"),
    "other coarsening": (put("host", **custom(treatment={"coarsen": {"keep_prefix": ".*"}})), "host"),
    "pseudonym for coarse value": (put("host", **custom(treatment="pseudonymize")), "host"),
    "less sensitive": (put("seen_at", classification="public"), "seen_at"),
    "partition moved": (put("day", partitioned=False), "table"),
}
LOOSER = {
    "optional field": (add_field(), "extra"),
    "required field with default": (add_field(required=True, **custom(default="none")), "extra"),
    "newly required with default": (put("quantity", required=True), "quantity_is_required"),
    "no longer required": (put("item", required=False), "item_is_required"),
    "spelling given": (put("kind", **custom(spelling="device_type")), "kind"),
    "unreadable values left out": (
        put("host", **custom(treatment={"coarsen": {"host_only": True}}, unreadable="drop")),
        "host",
    ),
    "default given": (put("price", **custom(default=0)), "price"),
    "lower bound lowered": (options("price", minimum=-1), "price_in_range"),
    "upper bound dropped": (without("price", "maximum"), "price_in_range"),
    "earliest time earlier": (options("at", minimum="1999-12-31T23:59:59Z"), "at_in_range"),
    "longer at most": (options("item", maxLength=21), "item_has_length"),
    "pattern dropped": (without("item", "pattern"), "item_matches_pattern"),
    "value more": (valid("buy", "view", "add"), "kind_is_allowed"),
    "rule removed": (drop("quality", "skew"), "skew"),
    "warning added": (add_rule(severity="warning", require="user"), "new_rule"),
    "more fields suffice": (body("somebody", require_any=["host", "item", "user"]), "somebody"),
    "rule for fewer rows": (
        body("buys_have_price", when={"kind": "buy"}, require="price"),
        "buys_have_price",
    ),
    "more tolerance to now": (
        body("not_in_future", compare=["at", "<=", "$now"], tolerance="1 hour"),
        "not_in_future",
    ),
    "equality passes too": (body("skew", compare=["at", "<=", "seen_at"], tolerance="5 minutes"), "skew"),
    "error became warning": (lambda document: rule(document, "skew").update(severity="warning"), "skew"),
    "warning tightened": (
        lambda document: rule(document, "cheap").update(implementation={"compare": ["price", "<=", 1]}),
        "cheap",
    ),
    "expectation removed": (drop("quality", "some_rows"), "some_rows"),
    "coarser time": (put("at", **custom(treatment={"coarsen": {"truncate": "day"}})), "at"),
    "pseudonym dropped": (put("user", **custom(treatment="drop")), "user"),
    "more sensitive": (put("seen_at", classification="restricted", **custom(treatment="keep")), "seen_at"),
}
#: The sides that each change breaks.
SIDES = {
    "field removed": ("readers",),
    "table renamed": ("senders", "readers"),
    "required field added": ("senders",),
    "field newly required": ("senders",),
    "field newly unique": ("senders",),
    "other type": ("senders", "readers"),
    "wider type": ("senders", "readers"),
    "default changed": ("readers",),
    "default removed": ("readers",),
    "spelling removed": ("senders", "readers"),
    "unreadable values refused": ("senders",),
    "path changed": ("senders",),
    "lower bound raised": ("senders",),
    "upper bound lowered": ("senders",),
    "bound made exclusive": ("senders",),
    "earliest time later": ("senders",),
    "longer at least": ("senders",),
    "shorter at most": ("senders",),
    "another pattern": ("senders", "readers"),
    "value no longer allowed": ("senders",),
    "rule added": ("senders",),
    "fewer fields suffice": ("senders",),
    "rule for more rows": ("senders",),
    "less tolerance to now": ("senders",),
    "less tolerance": ("senders",),
    "comparison turned": ("senders", "readers"),
    "warning became error": ("senders",),
    "expectation changed": ("senders", "readers"),
    "pseudonym becomes value": ("readers", "privacy"),
    "pseudonym of a shared domain": ("readers", "privacy"),
    "finer time": ("readers", "privacy"),
    "other coarsening": ("readers", "privacy"),
    "pseudonym for coarse value": ("readers", "privacy"),
    "less sensitive": ("privacy",),
    "partition moved": ("readers",),
    "no longer required": ("readers",),
    "lower bound lowered": ("readers",),
    "upper bound dropped": ("readers",),
    "earliest time earlier": ("readers",),
    "longer at most": ("readers",),
    "pattern dropped": ("readers",),
    "value more": ("readers",),
    "rule removed": ("readers",),
    "more fields suffice": ("readers",),
    "rule for fewer rows": ("readers",),
    "more tolerance to now": ("readers",),
    "equality passes too": ("readers",),
    "error became warning": ("readers",),
    "expectation removed": ("readers",),
    "coarser time": ("readers",),
    "pseudonym dropped": ("readers",),
}
DOCUMENTATION = {
    "field described": (put("item", description="What was clicked."), "item"),
    "rule described": (lambda document: rule(document, "skew").update(description="Clocks."), "skew"),
    "contract described": (lambda document: document.update(description={"purpose": "Clicks."}), "table"),
}


ALL = {**STRICTER, **LOOSER, **DOCUMENTATION}


@pytest.mark.parametrize("name", ALL)
def test_each_change_is_judged_from_both_sides(changed, name):
    change, where = ALL[name]
    level = "breaking" if name in SIDES else "documentation" if name in DOCUMENTATION else "addition"

    found = changed(change)

    assert found.level == level, found.changes
    named = [each for each in found.changes if each.level == level and each.where == where]
    assert [each.breaks for each in named] == [SIDES.get(name, ())]


@pytest.mark.parametrize("name", ["secret", "name"])
def test_a_rule_that_no_reader_relies_on_breaks_no_reader(changed, name):
    """A pseudonym keeps only whether a value is present; a dropped field keeps nothing."""
    classification = {"secret": "restricted", "name": "pseudonymous"}[name]

    def prepared(document):
        add_field(name=name, classification=classification, logicalTypeOptions={"maxLength": 5})(document)

    found = changed(options(name, maxLength=6), before=prepared)

    assert [(each.where, each.level) for each in found.changes] == [(f"{name}_has_length", "addition")]


def test_readers_notice_that_a_pseudonym_may_be_absent(changed):
    found = changed(
        put("user", required=False),
        before=put("user", required=True),
    )

    assert [(each.where, each.breaks) for each in found.changes] == [("user_is_required", ("readers",))]


def test_a_dropped_field_can_be_removed_without_a_break(changed):
    found = changed(drop("properties", "extra"), before=add_field(classification="restricted"))

    assert [(each.where, each.level) for each in found.changes] == [("extra", "addition")]


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        ("public", "restricted", {"readers"}),
        ("public", "pseudonymous", {"readers"}),
        ("internal", "restricted", {"readers"}),
        ("restricted", "public", {"privacy"}),
    ],
)
def test_a_classification_breaks_by_its_treatment(changed, old, new, breaks):
    found = changed(put("extra", classification=new), before=add_field(classification=old))

    assert {side for each in found.changes for side in each.breaks} == breaks


def test_more_sensitive_with_the_same_treatment_breaks_nobody(changed):
    def treat(document):
        treatments = document["customProperties"][0]["value"]
        treatments |= {"restricted": "drop", "confidential": "drop"}
        add_field(classification="restricted")(document)

    found = changed(put("extra", classification="confidential"), before=treat)

    assert [(each.what, each.level) for each in found.changes] == [
        ("privacy: classification changed", "addition")
    ]


def test_a_composite_key_is_compared(changed):
    def key(document):
        for name in ("item", "kind"):
            put(name, primaryKey=True)(document)

    added = changed(key, before=put("kind", required=True))
    removed = changed(
        lambda document: (
            [field(document, name).pop("primaryKey") for name in ("item", "kind")]
            + [put("kind", required=True)(document)]
        ),
        before=key,
    )

    assert [(each.where, each.breaks) for each in added.changes] == [("item, kind", ("senders",))]
    assert [(each.where, each.breaks) for each in removed.changes] == [("item, kind", ("readers",))]


def test_one_of_two_unnamed_expectations_removed_is_seen(changed):
    def unnamed(column):
        body = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": column, "value_set": ["x"]}}
        return {"type": "custom", "engine": "greatExpectations", "implementation": body}

    def prepared(document):
        document["schema"][0]["quality"] += [unnamed("kind"), unnamed("user")]

    found = changed(
        lambda document: document["schema"][0]["quality"].remove(unnamed("kind")), before=prepared
    )

    assert [(each.what, each.breaks) for each in found.changes] == [("rule removed", ("readers",))]


def test_equal_contracts_have_no_changes(changed):
    found = changed(lambda document: None)
    assert (found.level, found.changes, found.version_problem) == (None, (), None)


@pytest.mark.parametrize(
    ("change", "version", "problem"),
    [
        (
            put("user", required=True),
            "1.2.3",
            "breaking changes need version 2.0.0 or higher, received 1.2.3",
        ),
        (put("user", required=True), "1.3.0", "breaking changes need version 2.0.0"),
        (put("user", required=True), "2.0.0", None),
        (add_field(), "1.2.4", "addition changes need version 1.3.0"),
        (add_field(), "1.3.0", None),
        (add_field(), "2.0.0", None),
        (put("item", description="What."), "1.2.3", None),
        (put("item", description="What."), "1.2.2", "a version never falls"),
        (put("item", description="What."), "one", "MAJOR.MINOR.PATCH, received 'one'"),
    ],
)
def test_the_version_must_fit_the_changes(changed, change, version, problem):
    found = changed(lambda document: (change(document), document.update(version=version)))
    assert found.version_problem is None if problem is None else problem in found.version_problem


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda text: text, 0, "unchanged"),
        (
            lambda text: text.replace("maximum: 100", "maximum: 10"),
            12,
            "breaking for senders: price_in_range: rule tightened",
        ),
        (lambda text: text.replace("maximum: 100", "maximum: 10").replace("1.2.3", "2.0.0"), 11, "→ 2.0.0"),
        (
            lambda text: text.replace("maximum: 100", "maximum: 101"),
            12,
            "breaking for readers: price_in_range: rule loosened",
        ),
        (lambda text: text + WARNING, 12, "addition: priced: rule added"),
        (lambda text: (text + WARNING).replace("1.2.3", "1.3.0"), 0, "addition"),
    ],
)
def test_the_exit_code_names_the_level_of_the_changes(tmp_path, change, code, words):
    old, new, report = (tmp_path / name for name in ("old.yaml", "new.yaml", "report.json"))
    old.write_text(BASE)
    new.write_text(change(BASE))
    ended = CliRunner().invoke(cli.app, ["contracts", "diff", str(old), str(new), "--report", str(report)])
    assert ended.exit_code == code, ended.output
    assert words in ended.output
    told = json.loads(report.read_text())
    assert told["breaking"] == ("breaking for " in ended.output)
    assert bool(told["version_problem"]) == (code == 12)
