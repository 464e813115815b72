"""A contract as a Great Expectations suite, and the short report of a check of a data frame.

Great Expectations and pandas take seconds to import, so the functions import them at their first call.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.contract import Contract
from data_contracts.errors import ContractError
from data_contracts.uniqueness import UniqueKey

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd

MAX_EXAMPLES = 5
MAX_EXAMPLE_CHARACTERS = 100
_SEVERITIES = {"error": "critical", "warning": "warning"}


@dataclass(frozen=True)
class RuleOutcome:
    """The result of Great Expectations for one rule.

    Attributes:
        name: the name of the rule in the contract.
        severity: error or warning.
        passed: whether every row satisfies the rule.
        unexpected_count: the number of rows that break the rule.
        examples: up to five values that break the rule, each cut to 100 characters.
        problem: the reason why the rule could not be evaluated, else an empty text.
    """

    name: str
    severity: str
    passed: bool
    unexpected_count: int
    examples: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class ValidationReport:
    """The results of Great Expectations for a data frame.

    Attributes:
        contract: name and version of the contract.
        rows: the number of checked rows.
        outcomes: one outcome for each rule, in the order of the suite.
        skipped: the reference rules without given values.
    """

    contract: str
    rows: int
    outcomes: tuple[RuleOutcome, ...]
    skipped: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no rule of severity error failed."""
        return all(outcome.passed for outcome in self.outcomes if outcome.severity == "error")

    @property
    def failures(self) -> tuple[RuleOutcome, ...]:
        """The rules that failed, including warnings."""
        return tuple(outcome for outcome in self.outcomes if not outcome.passed)

    def outcome(self, name: str) -> RuleOutcome:
        """Return the outcome of one rule.

        Raises:
            KeyError: the rule was not evaluated.
        """
        for outcome in self.outcomes:
            if outcome.name == name:
                return outcome
        raise KeyError(f"{self.contract}: no rule {name!r} was evaluated")


def gx_suite(contract: Contract) -> gx.ExpectationSuite:
    """Return the suite of a contract: columns, types, uniqueness, rules, and expectations about a batch.

    The `meta` of each expectation holds the name of the rule. Rules on $now and references keep a $PARAMETER,
    which `validate_frame` replaces.

    Raises:
        ContractError: Great Expectations does not know an expectation of `engine: greatExpectations`.
    """
    import great_expectations as gx

    import data_contracts.quality.gx_types  # noqa: F401 - registers our own expectations

    suite = gx.ExpectationSuite(name=f"{contract.name}-{contract.version}")
    suite.expectations = [_expectation(contract, given) for given in _configurations(contract)]
    return suite


def frame_from_arrow(table: pa.Table) -> pd.DataFrame:
    """Return typed rows as a data frame for Great Expectations.

    pandas does not distinguish NaN from a missing number. So NaN becomes infinity, which every rule on
    numbers judges as it judges NaN (DuckDB, too, orders NaN above all numbers). Integers and booleans keep
    missing values.
    """
    import pandas as pd

    for position, column in enumerate(table.schema):
        if pa.types.is_floating(column.type):
            values = table.column(position)
            infinite = pc.if_else(pc.is_nan(values), pa.scalar(float("inf"), column.type), values)
            table = table.set_column(position, column, infinite)
        elif pa.types.is_date(column.type):
            midnights = table.column(position).cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC"))
            table = table.set_column(position, column.name, midnights)
    nullable = {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get)
    return frame


def validate_frame(
    contract: Contract,
    frame: pd.DataFrame,
    *,
    now: datetime | None = None,
    references: Mapping[str, Collection[Any]] | None = None,
) -> ValidationReport:
    """Check a data frame with Great Expectations, in a context that stores nothing.

    Args:
        contract: the contract to check.
        frame: typed rows, such as from `frame_from_arrow`; further columns are ignored.
        now: the value of $now; the current time by default.
        references: the values of each `table.column` that a rule refers to. Without them the rule is skipped.
    """
    now = now or datetime.now(UTC)
    references = references or {}
    skipped = tuple(
        rule.name for rule in contract.rules if rule.reference and rule.reference not in references
    )
    suite = gx_suite(contract)
    suite.expectations = [
        expectation for expectation in suite.expectations if expectation.meta["rule"] not in skipped
    ]
    parameters: dict[str, Any] = {
        name.replace(".", "__"): list(values) for name, values in references.items()
    }
    parameters |= {
        name: _moment(name, now) for rule in contract.rules for name in _now_parameters(rule.expectation)
    }
    batch = _batch(frame)
    result = batch.validate(
        suite,
        expectation_parameters=parameters,
        result_format={"result_format": "BASIC", "partial_unexpected_count": MAX_EXAMPLES},
    )
    order = {expectation.meta["rule"]: position for position, expectation in enumerate(suite.expectations)}
    outcomes = tuple(sorted(map(_outcome, result.results), key=lambda outcome: order[outcome.name]))
    return ValidationReport(f"{contract.name} {contract.version}", len(frame), outcomes, skipped)


def _configurations(contract: Contract) -> list[dict[str, Any]]:
    names = [field.name for field in contract.fields]
    configurations: list[dict[str, Any]] = [
        _own("columns_exist", "expect_table_columns_to_match_set", column_set=names, exact_match=False)
    ]
    for field in contract.fields:
        kind = "expect_column_values_to_have_logical_type"
        configurations.append(_own(field.type_rule, kind, column=field.name, logical_type=field.logical_type))
    configurations += [_uniqueness(key) for key in contract.unique_keys]
    for rule in contract.rules:
        kwargs = dict(rule.expectation["kwargs"])
        if "row_condition" in rule.expectation:
            kwargs |= {"row_condition": rule.expectation["row_condition"]}
        configurations.append(
            {"type": rule.expectation["type"], "kwargs": kwargs, "rule": rule.name, "severity": rule.severity}
        )
    for batch_rule in contract.batch_rules:
        if batch_rule.expectation is not None:
            named = {"rule": batch_rule.name, "severity": batch_rule.severity}
            configurations.append({**batch_rule.expectation, **named})
    return configurations


def _uniqueness(key: UniqueKey) -> dict[str, Any]:
    if len(key.columns) == 1:
        return _own(key.name, "expect_column_values_to_be_unique", column=key.columns[0])
    given = {"column_list": list(key.columns), "ignore_row_if": "any_value_is_missing"}
    return _own(key.name, "expect_compound_columns_to_be_unique", **given)


def _own(rule: str, kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "rule": rule, "severity": "error"}


def _expectation(contract: Contract, given: dict[str, Any]) -> Any:
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    try:
        return ExpectationConfiguration(
            type=given["type"],
            kwargs=given["kwargs"],
            meta={"rule": given["rule"], "severity": given["severity"]},
            severity=_SEVERITIES[given["severity"]],
        ).to_domain_obj()
    except (GreatExpectationsError, ValueError, TypeError) as error:
        where = f"schema.{contract.name}.quality.{given['rule']}"
        raise ContractError(contract.path, where, f"Great Expectations refuses it: {error}") from error


def _batch(frame: pd.DataFrame) -> Any:
    """Return the frame as a batch, in a context without files, progress bars or usage reports."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(project_config=config, mode="ephemeral")
    asset = context.data_sources.add_pandas("frame").add_dataframe_asset("rows")
    definition = asset.add_batch_definition_whole_dataframe("all")
    return definition.get_batch(batch_parameters={"dataframe": frame})


def _outcome(result: Any) -> RuleOutcome:
    meta = result.expectation_config.meta
    problem = _problem(result.exception_info or {})
    details = result.result or {}
    examples = tuple(
        str(value)[:MAX_EXAMPLE_CHARACTERS] for value in details.get("partial_unexpected_list") or ()
    )
    return RuleOutcome(
        name=meta["rule"],
        severity=meta["severity"],
        passed=bool(result.success),
        unexpected_count=int(details.get("unexpected_count") or 0),
        examples=examples[:MAX_EXAMPLES],
        problem=problem[:300],
    )


def _problem(info: Mapping[str, Any]) -> str:
    """Return the first exception message; Great Expectations nests it one level deep if a metric failed."""
    nested = [info, *(value for value in info.values() if isinstance(value, Mapping))]
    return next((str(entry["exception_message"]) for entry in nested if entry.get("exception_message")), "")


def _now_parameters(expectation: Mapping[str, Any]) -> list[str]:
    values = [
        value.get("$PARAMETER", "") for value in expectation["kwargs"].values() if isinstance(value, dict)
    ]
    return [name for name in values if name.startswith("now_")]


def _moment(parameter: str, now: datetime) -> str:
    """Return the time of a parameter such as now_plus_300s."""
    match = re.fullmatch(r"now_(plus|minus)_([0-9]+)s", parameter)
    if not match:
        raise ValueError(f"no such parameter: {parameter}")
    shift = timedelta(seconds=int(match[2]))
    return (now + shift if match[1] == "plus" else now - shift).isoformat()
