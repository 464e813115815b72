"""DuckDB and Great Expectations judge every value alike, at the edges of each type too."""

import math
import struct
from datetime import UTC, date, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts import ContractError
from data_contracts.expectations import frame_from_arrow, validate_frame
from tests.data_contracts.public_table import load_public_table

MAX_F32 = (2 - 2**-23) * 2.0**127
EDGES = {
    "i8": (-128, -1, 0, 1, 127),
    "i32": (-(2**31), 0, 2**31 - 1, 2**24, 2**24 + 1),
    "i64": (-(2**63), -(2**53) - 1, -(2**53), 0, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1),
    "f32": (0.1, -0.1, 0.0, -0.0, 1 / 3, 2.0**24, 1.0e-45, MAX_F32, -MAX_F32, math.inf, math.nan),
    "f64": (
        0.1,
        0.3,
        0.0,
        -0.0,
        5e-324,
        2.0**53,
        1.7976931348623157e308,
        -1e308,
        math.inf,
        -math.inf,
        math.nan,
    ),
}
MOMENTS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2025, 10, 26, 1, tzinfo=UTC))


def load(folder, fields):
    """Return a contract of one public table t; `fields` maps names to a logicalType and its options."""
    return load_public_table(
        folder,
        (
            f"{name}, logicalType: {kind}, logicalTypeOptions: {options}"
            for name, (kind, options) in fields.items()
        ),
    )


def in_yaml(value):
    """Return a value as YAML writes it; a float needs a dot there."""
    return yaml.safe_dump(value.isoformat() if isinstance(value, date) else value).splitlines()[0]


def verdicts(contract, table):
    """Return the numbers of rows that break each rule, by DuckDB and by Great Expectations."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("typed_rows", table)
        in_sql = {
            rule.name: connection.execute(
                f"SELECT count(*) FROM typed_rows WHERE ({rule.predicate}) IS FALSE"
            ).fetchone()[0]
            for rule in contract.rules
        }
    report = validate_frame(contract, frame_from_arrow(table))
    assert {outcome.name: outcome.problem for outcome in report.outcomes if outcome.problem} == {}
    return in_sql, {rule.name: report.outcome(rule.name).unexpected_count for rule in contract.rules}


def edge_options(width):
    """Return options for every bound at every edge of a type, as text of YAML."""
    finite = [edge for edge in EDGES[width] if not isinstance(edge, float) or math.isfinite(edge)]
    bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    return [f"{{format: {width}, {bound}: {in_yaml(edge)}}}" for bound in bounds for edge in finite]


@pytest.mark.parametrize("width", EDGES)
def test_every_bound_at_every_edge_is_judged_alike(tmp_path, width):
    kind = "integer" if width.startswith("i") else "number"
    fields, refused = {}, []
    for number, options in enumerate(edge_options(width)):
        try:
            load(tmp_path, {"a": (kind, options)})
        except ContractError as error:
            refused.append(error.reason)
        else:
            fields[f"a{number}"] = (kind, options)
    contract = load(tmp_path, fields)
    values = [*EDGES[width], None]
    table = pa.table({name: pa.array(values, contract.field(name).arrow_type) for name in fields})

    in_sql, in_frame = verdicts(contract, table)

    assert in_frame == in_sql
    assert all("satisfies" in reason for reason in refused)


def f32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


NUMBERS = {
    "i64": st.integers(-(2**63), 2**63 - 1) | st.sampled_from(EDGES["i64"]),
    "f32": st.floats(width=32, allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.1, f32(0.1), 1e-3]),
    "f64": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.1, 0.3, 2.0**53]),
    "timestamp": st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    "date": st.dates(date(1900, 1, 1), date(2200, 1, 1)),
}


@st.composite
def bounds_and_values(draw, width):
    """Draw one bound, and values of which some are the bound and its neighbours."""
    bound = draw(NUMBERS[width])
    name = draw(st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]))
    values = draw(st.lists(NUMBERS[width], min_size=1, max_size=5))
    if width == "i64":
        near = [max(bound - 1, -(2**63)), min(bound + 1, 2**63 - 1)]
    elif width == "timestamp":
        near = [bound - timedelta(microseconds=1), bound + timedelta(microseconds=1)]
    elif width == "date":
        near = [bound - timedelta(days=1), bound + timedelta(days=1)]
    else:
        near = [math.nextafter(bound, -math.inf), math.nextafter(bound, math.inf)]
    return name, bound, [*values, bound, *near, None]


@pytest.mark.parametrize("width", NUMBERS)
def test_any_bound_is_judged_alike(tmp_path, width):
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bounds_and_values(width))
    def judge(drawn):
        name, bound, values = drawn
        kind = {"i64": "integer", "f32": "number", "f64": "number"}.get(width, width)
        form = f"format: {width}, " if kind in ("integer", "number") else ""
        try:
            contract = load(tmp_path, {"a": (kind, f"{{{form}{name}: {in_yaml(bound)}}}")})
        except ContractError as error:
            assert "satisfies" in error.reason
            return
        table = pa.table({"a": pa.array(values, contract.field("a").arrow_type)})

        in_sql, in_frame = verdicts(contract, table)

        assert in_frame == in_sql

    judge()


@pytest.mark.parametrize(
    ("kind", "options", "good", "bad"),
    [
        ("integer", "{multipleOf: 5}", [0, 5, -10, None], [1, -4]),
        ("integer", "{format: i64, multipleOf: 9007199254740993}", [9007199254740993, 0], [9007199254740992]),
        (
            "number",
            "{multipleOf: 0.01}",
            [0.01, 0.1, 19.99, 1e6 + 0.29, -0.07, 0.0],
            [0.015, 19.999, math.inf],
        ),
        ("number", "{format: f32, multipleOf: 0.1}", [0.1, 0.7, 12.3, None], [0.15, 12.35]),
        ("number", "{multipleOf: 3}", [3.0, -9.0], [1.0, 4.5]),
    ],
)
def test_multiples(tmp_path, kind, options, good, bad):
    contract = load(tmp_path, {"a": (kind, options)})
    table = pa.table({"a": pa.array([*good, *bad], contract.field("a").arrow_type)})

    in_sql, in_frame = verdicts(contract, table)

    assert in_sql["a_is_multiple"] == in_frame["a_is_multiple"] == len(bad)


def test_an_f32_bound_is_rounded_as_its_values_are(tmp_path):
    contract = load(tmp_path, {"a": ("number", "{format: f32, maximum: 0.1}")})
    table = pa.table({"a": pa.array([0.1, f32(0.1), 0.1000001], pa.float32())})

    assert verdicts(contract, table) == ({"a_is_finite": 0, "a_in_range": 1},) * 2


def test_a_bound_beyond_the_type_excludes_nothing(tmp_path):
    contract = load(
        tmp_path, {"a": ("integer", "{maximum: 99999999999999999999, exclusiveMinimum: -3000000000}")}
    )
    table = pa.table({"a": pa.array([-(2**31), 2**31 - 1], pa.int32())})

    assert verdicts(contract, table) == ({"a_in_range": 0},) * 2


REFUSED = {
    "inverted": ("integer", "{minimum: 5, maximum: 3}", "no integer satisfies"),
    "inverted, exclusive": ("integer", "{exclusiveMinimum: 5, exclusiveMaximum: 6}", "no integer satisfies"),
    "inverted numbers": ("number", "{minimum: 1.5, maximum: 1}", "no number satisfies"),
    "empty": ("number", "{minimum: 1, exclusiveMaximum: 1}", "no number satisfies"),
    "equal once rounded": ("number", "{format: f32, exclusiveMinimum: 0.1, maximum: 0.1}", "no number"),
    "beyond the type": ("integer", "{format: i8, minimum: 128}", "no integer satisfies"),
    "inverted times": (
        "timestamp",
        "{minimum: '2020-01-01T00:00:00+02:00', exclusiveMaximum: '2019-12-31T22:00:00Z'}",
        "no timestamp satisfies",
    ),
    "inverted dates": ("date", "{minimum: '2020-01-02', maximum: '2020-01-01'}", "no date satisfies"),
    "inverted lengths": ("string", "{minLength: 3, maxLength: 2}", "no text has minLength 3"),
    "nanoseconds": ("timestamp", "{minimum: '2020-01-01T00:00:00.0000001Z'}", "is no timestamp"),
    "too large for f32": ("number", "{format: f32, maximum: 1.0e+39}", "does not fit into float"),
    "too large for f64": ("number", f"{{maximum: 1{'0' * 400}}}", "does not fit into double"),
    "infinite": ("number", "{maximum: .inf}", "is no number"),
    "not a number": ("number", "{minimum: .nan}", "is no number"),
    "a year of the zone before 1": ("timestamp", "{minimum: '0001-01-01T00:00:00+05:00'}", "does not fit"),
    "a fraction of an integer": ("integer", "{multipleOf: 0.5}", "0.5 is no integer"),
    "a multiple beyond the type": ("integer", "{format: i8, multipleOf: 1000}", "does not fit into int8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bounds_that_nothing_satisfies_are_refused(tmp_path, case):
    kind, options, reason = REFUSED[case]

    with pytest.raises(ContractError) as refused:
        load(tmp_path, {"a": (kind, options)})

    assert refused.value.where.startswith("schema.t.properties.a")
    assert reason in refused.value.reason


DEFAULTS = {
    "a range": ("integer", "{maximum: 3}", "4", "breaks the rule a_in_range"),
    "a length": ("string", "{minLength: 2}", "x", "breaks the rule a_has_length"),
    "a pattern": ("string", "{pattern: '^[A-Z]{2}$'}", "Germany", "breaks the rule a_matches_pattern"),
    "a multiple": ("number", "{multipleOf: 0.5}", "0.7", "breaks the rule a_is_multiple"),
    "the width": ("integer", "{format: i8}", "300", "DuckDB refuses it"),
    "a time": ("timestamp", "{minimum: '2020-01-01T00:00:00Z'}", "'2019-12-31T23:59:59Z'", "a_in_range"),
    "a width of numbers": ("number", "{format: f32}", "1.0e+39", "breaks the rule a_is_finite"),
}


@pytest.mark.parametrize("case", DEFAULTS)
def test_a_default_that_breaks_a_rule_of_its_own_field_is_refused(tmp_path, case):
    kind, options, default, reason = DEFAULTS[case]
    custom = f"{options}, customProperties: [{{property: default, value: {default}}}]"

    with pytest.raises(ContractError) as refused:
        load(tmp_path, {"a": (kind, custom)})

    assert refused.value.where.startswith("schema.t.properties.a")
    assert reason in refused.value.reason
