"""Every entry of quality becomes a rule of a row or of a batch, or is refused with its place and reason."""

import duckdb
import pytest

from data_contracts import ContractError, load_contract
from data_contracts.quality.batch_rules import Limits
from data_contracts.quality.values import SHORT_LIST

NULLS = {"metric": "nullValues"}
DUPLICATES = {"metric": "duplicateValues"}
GX = {"type": "custom", "engine": "greatExpectations"}
SQL = {"type": "sql", "query": "SELECT count(*) FROM small"}
RULE = {"type": "custom", "engine": "lastaisle", "name": "number_below_price"}


def gx(kind, **kwargs):
    return {**GX, "implementation": {"type": f"expect_{kind}", "kwargs": kwargs}}


# entry under the field `word` · the names of its rules of a row · the names of its rules of a batch
COMPILED = [
    (NULLS | {"mustBe": 0}, ["word_is_not_null"], []),
    (NULLS | {"mustBe": 0, "name": "told", "severity": "info"}, ["told"], []),
    (NULLS | {"mustBe": 0, "type": "library", "unit": "percent"}, ["word_is_not_null"], []),
    (NULLS | {"mustBeLessThan": 5, "unit": "percent"}, [], ["rows_of_word_is_not_null"]),
    (
        {"metric": "missingValues", "arguments": {"missingValues": [None, "", "N/A"]}, "mustBe": 0},
        ["word_is_not_missing", "word_is_not_null"],
        [],
    ),
    (
        {"metric": "invalidValues", "arguments": {"pattern": "^[ab]$"}, "mustBe": 0},
        ["word_has_valid_pattern"],
        [],
    ),
    (
        {"metric": "invalidValues", "arguments": {"validValues": ["a"], "pattern": "^a"}, "mustBe": 0},
        ["word_is_allowed"],
        [],
    ),
    (DUPLICATES | {"mustBe": 0}, [], ["word_has_duplicates"]),
    ({"type": "text", "description": "Words are words.", "name": "Any name: it's ok"}, [], []),
    (SQL | {"mustBeGreaterThan": 3, "name": "many_rows"}, [], ["many_rows"]),
    (SQL | {"mustBeGreaterThan": 3, "description": "More than 3 rows!"}, [], ["word_more_than_3_rows"]),
    (gx("column_values_to_not_be_null"), ["word_values_to_not_be_null"], []),
    (gx("column_values_to_not_be_null", mostly=0.9), [], ["word_values_to_not_be_null"]),
    (gx("table_row_count_to_equal", value=3), [], ["table_row_count_to_equal"]),
    (
        {**GX, "implementation": "type: expect_column_values_to_be_in_set\nkwargs: {value_set: [a, b]}"},
        ["word_values_to_be_in_set"],
        [],
    ),
]


@pytest.mark.parametrize(("entry", "rules", "batch_rules"), COMPILED)
def test_an_entry_becomes_rules_of_a_row_or_of_a_batch(written, entry, rules, batch_rules):
    contract = load_contract(
        written(field_quality=[entry | {"dimension": "conformity", "schedule": "daily"}])
    )
    own = [rule.name for rule in contract.rules if rule.columns == ("word",)]
    assert (own, [rule.name for rule in contract.batch_rules]) == (rules, batch_rules)


# entry · part of the reason
REFUSED_UNDER_A_FIELD = [
    (NULLS, "breaks ODCS: 'mustBe' is a required property"),
    (NULLS | {"mustBe": "0"}, "takes numbers, received '0'"),
    (NULLS | {"mustBe": False}, "takes numbers, received False"),
    (NULLS | {"mustBe": 0, "mustNotBe": 1}, "breaks ODCS"),
    (NULLS | {"mustBe": 0, "unit": "shares"}, "received 'shares'"),
    (NULLS | {"mustBe": 0, "arguments": {"foo": 1}}, "takes none, received foo"),
    (NULLS | {"mustBe": 0, "query": "SELECT 1"}, "breaks ODCS"),
    (NULLS | {"mustBe": 0, "severity": "warn"}, "received 'warn'"),
    (NULLS | {"mustBe": 0, "name": "it's ok"}, 'lower_snake_case name, received "it\'s ok"'),
    (NULLS | {"mustBe": 0, "name": "a,b"}, "received 'a,b'"),
    (NULLS | {"mustBe": 0, "name": "word\n"}, "received 'word\\n'"),
    (NULLS | {"mustBe": 0, "name": "naïve"}, "received 'naïve'"),
    (NULLS | {"mustBe": 0, "name": "word_is_string"}, "'word_is_string' stands twice"),
    (NULLS | {"mustBe": 0, "customProperties": [{"property": "retry", "value": 1}]}, "customProperties"),
    (NULLS | {"mustBeBetween": [5, 1]}, "smaller number first"),
    ({"metric": "rowCount", "mustBe": 3}, "under the table's quality"),
    ({"metric": "missingValues", "mustBe": 0}, "takes a list of values, received None"),
    ({"metric": "missingValues", "arguments": {"missingValues": [3]}, "mustBe": 0}, "3 is no string"),
    ({"metric": "invalidValues", "mustBe": 0}, "received none"),
    ({"metric": "invalidValues", "arguments": {"validValues": []}, "mustBe": 0}, "received []"),
    (
        {
            "metric": "invalidValues",
            "arguments": {"validValues": ["a", "c"], "pattern": "^[ab]$"},
            "mustBe": 0,
        },
        "'c' of validValues does not match the pattern",
    ),
    (
        {"metric": "invalidValues", "arguments": {"validValues": ["a"], "caseSensitive": False}, "mustBe": 0},
        "received caseSensitive",
    ),
    ({"metric": "invalidValues", "arguments": {"pattern": "["}, "mustBe": 0}, "arguments.pattern"),
    (DUPLICATES | {"mustBe": 0, "arguments": {"properties": ["word"]}}, "received properties"),
    ({"type": "text", "description": "x", "mustBe": 0}, "breaks ODCS"),
    (
        {"type": "text", "description": "x", "metric": "nullValues", "mustBe": 0},
        "does not use metric, mustBe",
    ),
    ({"type": "custom", "engine": "soda", "implementation": "x"}, "'soda' is not enforced here"),
    (
        {"type": "custom", "engine": "lastaisle", "name": "r", "implementation": {}},
        "under the table's quality",
    ),
    ({"type": "custom", "engine": "lastaisle", "implementation": {}, "metric": "x"}, "breaks ODCS"),
    (SQL | {"mustBe": 0, "metric": "nullValues"}, "does not use metric"),
    (SQL | {"mustBe": 0, "unit": "percent"}, "unit"),
    (SQL, "breaks ODCS"),
    ({"type": "sql", "query": "SELECT word FROM nowhere", "mustBe": 0}, "DuckDB refuses"),
    ({"type": "sql", "query": "SELECT word, number FROM small", "mustBe": 0}, "one row of one column"),
    ({"type": "sql", "query": "SELECT 1; SELECT 2", "mustBe": 0}, "takes one SELECT"),
    ({"type": "sql", "query": "DROP TABLE small", "mustBe": 0}, "takes one SELECT"),
    ({"type": "sql", "query": "SET memory_limit = '1TB'", "mustBe": 0}, "takes one SELECT"),
    ({"type": "sql", "query": "", "mustBe": 0}, "takes one SELECT"),
    (
        {"type": "sql", "query": "SELECT content FROM read_text('/etc/hostname')", "mustBe": 0},
        "DuckDB refuses",
    ),
    ({"type": "sql", "query": "SELECT count(*) FROM '/etc/hostname'", "mustBe": 0}, "DuckDB refuses"),
    (
        {"type": "sql", "query": "SELECT count(*) FROM rows", "mustBe": 0},
        "DuckDB refuses",
    ),  # a Python variable
    (gx("nonsense"), "'expect_nonsense' is not enforced here"),
    (gx("column_values_to_not_be_null", column="number"), "stands under word, received 'number'"),
    (gx("column_values_to_not_be_null", mostly=2), "share from 0 to 1, received 2"),
    (gx("column_values_to_not_be_null", row_condition="number > 3"), "takes no row_condition"),
    (gx("column_values_to_be_between", min_value=1), "a string has no min"),
    (gx("column_values_to_be_in_set", value_set=[1]), "1 is no string"),
    (gx("column_values_to_be_in_set", value_set={"$PARAMETER": "x"}), "takes a list of values"),
    (gx("column_values_to_match_regex", regex=r"\d"), "kwargs.regex"),
    (gx("column_value_lengths_to_equal"), "min_value and max_value are numbers"),
    (gx("column_mean_to_be_between", min_value=1), "word is a string"),
    (gx("table_row_count_to_be_between", minValue=1), "received {}"),
    ({**GX, "implementation": "type: ["}, "no usable YAML"),
    ({**GX, "implementation": {"kwargs": {}}}, "received None"),
    (gx("column_values_to_not_be_null") | {"severity": "blah"}, "received 'blah'"),
    (
        {**GX, "severity": "error", "implementation": {"type": "expect_x", "severity": "warning"}},
        "given twice",
    ),
]


@pytest.mark.parametrize(("entry", "reason"), REFUSED_UNDER_A_FIELD)
def test_an_entry_that_cannot_be_enforced_is_refused_by_its_place(written, entry, reason):
    rows = "a Python variable that no query may read"
    assert rows
    with pytest.raises(ContractError) as refused:
        load_contract(written(field_quality=[entry]))
    assert refused.value.where.startswith(("schema.small.properties.word.quality", "schema.small.quality"))
    assert reason in refused.value.reason


REFUSED_UNDER_A_TABLE = [
    (NULLS | {"mustBe": 0}, "belongs to a property"),
    (DUPLICATES | {"mustBe": 0}, "arguments.properties takes a list of fields, received None"),
    (DUPLICATES | {"mustBe": 0, "arguments": {"properties": ["word", "nope"]}}, "no field is called 'nope'"),
    ({"metric": "rowCount", "mustBe": 3, "unit": "percent"}, "rowCount counts rows"),
    (gx("column_values_to_not_be_null"), "no field is called None"),
    (gx("column_values_to_not_be_null", column="nope"), "no field is called 'nope'"),
    (gx("column_values_to_not_be_null", column=["word"]), "no field is called ['word']"),
    (gx("compound_columns_to_be_unique", column_list=["word"]), "two columns or more"),
    ({"type": "sql", "query": "SELECT max({column}) FROM {table}", "mustBe": 0}, "under the table"),
    (RULE | {"implementation": "number < price"}, "takes one of require"),
    (RULE | {"implementation": {"require": "nope"}}, "no field is called 'nope'"),
    (RULE | {"implementation": {"require": "word"}, "unit": "rows"}, "does not use unit"),
]


@pytest.mark.parametrize(("entry", "reason"), REFUSED_UNDER_A_TABLE)
def test_an_entry_under_the_table_that_cannot_be_enforced_is_refused(written, entry, reason):
    with pytest.raises(ContractError) as refused:
        load_contract(written(quality=[entry]))
    assert refused.value.where.startswith("schema.small.quality")
    assert reason in refused.value.reason


@pytest.mark.parametrize("twice", [gx("table_row_count_to_equal", value=3), SQL | {"mustBe": 0, "name": "n"}])
def test_two_rules_of_one_name_are_refused(written, twice):
    with pytest.raises(ContractError, match="stands twice"):
        load_contract(written(quality=[twice, twice]))


@pytest.mark.parametrize(
    ("logical_type", "values", "wrong"),
    [
        ("number", [0.1, 5, -1e300], "x"),
        ("date", ["2025-10-09", "1999-12-31"], "2025-13-01"),
        ("timestamp", ["2025-10-09T12:00:00+02:00"], "2025-10-09T12:00:00"),
        ("boolean", [True], 1),
        ("integer", [1, -(2**31)], 2**31),
    ],
)
def test_values_of_every_type_may_be_listed(written, logical_type, values, wrong):
    entry = {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": values}}
    (rule,) = (
        rule
        for rule in load_contract(
            written(fields={"a": {"logicalType": logical_type}}, field_quality=[entry])
        ).rules
        if rule.name == "a_is_allowed"
    )
    types = {"number": "DOUBLE", "date": "DATE", "timestamp": "TIMESTAMPTZ"}
    for value in values:
        typed = f"SELECT '{value}'::{types.get(logical_type, logical_type)} AS a"
        assert duckdb.sql(f"SELECT {rule.predicate} FROM ({typed})").fetchall() == [(True,)]
    entry["arguments"] = {"validValues": [wrong]}
    with pytest.raises(ContractError, match="validValues"):
        load_contract(written(fields={"a": {"logicalType": logical_type}}, field_quality=[entry]))


@pytest.mark.parametrize("form", ["validValues", "missingValues", "allow", "when"])
@pytest.mark.parametrize("length", [SHORT_LIST, SHORT_LIST + 1])
def test_a_long_list_decides_as_a_short_one(written, form, length):
    values = [f"v{number}" for number in range(length - 1)] + ["it's"]
    custom = {"name": "listed", "type": "custom", "engine": "lastaisle"}
    if form == "allow":
        given = {"quality": [custom | {"implementation": {"allow": {"a": values}}}]}
    elif form == "when":
        given = {"quality": [custom | {"implementation": {"when": {"a": values}, "require": "b"}}]}
    else:
        metric = "invalidValues" if form == "validValues" else form
        given = {"field_quality": [{"metric": metric, "mustBe": 0, "arguments": {form: values}}]}
    fields = {"a": {"logicalType": "string"}, "b": {"logicalType": "string"}}
    (rule,) = load_contract(written(fields=fields, **given)).rules
    rows = "SELECT unnest(['v0', 'it''s', 'other', NULL]) AS a, NULL::VARCHAR AS b"
    listed, others = (True, False) if form in ("validValues", "allow") else (False, True)
    if form == "when":
        others = None
    wanted = [(listed,), (listed,), (others,), (None,)]
    assert duckdb.sql(f"SELECT {rule.predicate} FROM ({rows})").fetchall() == wanted
    broken = sum(passed is False for (passed,) in wanted)
    counted = duckdb.sql(f"SELECT count_if(({rule.predicate}) IS FALSE) FROM ({rows})").fetchall()
    assert counted == [(broken,)]


def test_a_listed_value_is_rounded_as_the_column_rounds_it(written):
    entry = {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": [0.1]}}
    fields = {"a": {"logicalType": "number", "logicalTypeOptions": {"format": "f32"}}}
    rule = load_contract(written(fields=fields, field_quality=[entry])).rule("a_is_allowed")
    assert duckdb.sql(f"SELECT {rule.predicate} FROM (SELECT '0.1'::FLOAT AS a)").fetchall() == [(True,)]


# operator and bound · accepted numbers · refused numbers
@pytest.mark.parametrize(
    ("operator", "bound", "accepted", "refused"),
    [
        ("mustBe", 5, [5], [4, 6]),
        ("mustNotBe", 5, [4, 6], [5]),
        ("mustBeGreaterThan", 5, [6], [5]),
        ("mustBeGreaterOrEqualTo", 5, [5, 6], [4]),
        ("mustBeLessThan", 5, [4], [5]),
        ("mustBeLessOrEqualTo", 5, [5], [6]),
        ("mustBeBetween", [5, 7], [5, 6, 7], [4, 8]),
        ("mustNotBeBetween", [5, 7], [4, 8], [5, 6, 7]),
    ],
)
def test_the_operators_of_odcs(written, operator, bound, accepted, refused):
    (rule,) = load_contract(written(quality=[{"metric": "rowCount", operator: bound}])).batch_rules
    assert [rule.problem(number, 9) for number in accepted] == [None] * len(accepted)
    assert all(rule.problem(number, 9) for number in refused)
    assert str(rule.limits) in str(rule.problem(refused[0], 9))


def test_what_cannot_be_measured_is_broken_unless_there_are_no_rows(written):
    (rule,) = load_contract(written(quality=[{"metric": "rowCount", "mustBe": 3}])).batch_rules
    assert rule.problem(None, 0) is None
    assert rule.problem(None, 4) == "row_count: None is no number"
    assert rule.problem(float("nan"), 4) == "row_count: nan is no number"
    assert rule.problem("3", 4) == "row_count: '3' is no number"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(1, 1), "1"),
        (Limits(1, 1, outside=True), "not 1"),
        (Limits(1, 2), "between 1 and 2"),
        (Limits(minimum=1, strict_minimum=True), "more than 1"),
        (Limits(maximum=1), "at most 1"),
    ],
)
def test_limits_in_words(limits, words):
    assert str(limits) == words


@pytest.mark.parametrize(
    ("count", "rows", "measured"),
    [
        (DUPLICATES | {"arguments": {"properties": ["word", "number"]}}, "('a', 1), ('a', 1), ('a', 2)", 1),
        (DUPLICATES | {"arguments": {"properties": ["word", "number"]}}, "('a', NULL), ('a', NULL)", 0),
        ({"metric": "rowCount"}, "('a', 1), (NULL, NULL)", 2),
        (gx("compound_columns_to_be_unique", column_list=["word", "number"]), "('a', NULL), ('a', NULL)", 1),
    ],
)
def test_the_measures_of_a_table(written, count, rows, measured):
    entry = count if "implementation" in count else count | {"mustBe": 99}
    (rule,) = load_contract(written(quality=[entry])).batch_rules
    found = duckdb.sql(f"SELECT {rule.measure} FROM (VALUES {rows}) AS small (word, number)").fetchall()
    assert found == [(measured,)]


def test_the_tables_that_the_pipeline_makes_have_no_rules_about_a_batch(edited):
    entry = "- {metric: rowCount, mustBeGreaterThan: 3}"
    with pytest.raises(ContractError, match="while raw_events is ingested"):
        load_contract(edited("\n    quality:\n", f"\n    quality:\n      {entry}\n", contract="events"))
    assert load_contract(
        edited("    quality:\n      - name: user", f"    quality:\n      {entry}\n      - name: user")
    )


@pytest.mark.parametrize(
    "entry",
    [
        NULLS | {"mustBe": 0},
        {"metric": "missingValues", "arguments": {"missingValues": [None, "N/A"]}, "mustBe": 0},
        gx("column_values_to_not_be_null"),
    ],
)
def test_a_field_that_leaves_values_out_takes_no_rule_that_asks_for_a_value(written, entry):
    word = {"logicalType": "string", "customProperties": [{"property": "unreadable", "value": "drop"}]}
    with pytest.raises(ContractError, match=r"word.customProperties.unreadable: drop leaves out a value"):
        load_contract(written(fields={"word": word}, field_quality=[entry]))
    load_contract(written(fields={"word": word}, field_quality=[entry | {"severity": "warning"}]))
