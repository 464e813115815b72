"""The values that the reference rules of a contract allow: the columns of the lake that fields refer to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds

from data_contracts.contract import Contract
from data_contracts.errors import ContractError
from data_contracts.field import Field
from data_contracts.privacy import quote
from data_contracts.rules import ALLOWED
from lastaisle.lake import Lake
from lastaisle.lake.workspace import ALL_OPTIMIZERS, JOIN_AS_WRITTEN

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def load_references(connection: DuckDBPyConnection, contract: Contract, lake: Lake) -> None:
    """Make a table "table.column" of the allowed values for each reference of a rule of severity error.

    A missing table allows no value.

    Raises:
        ContractError: the table has no such column, or its type is not the type of the field. Rules that only
            warn are checked, too.
    """
    for name, columns in _references(contract).items():
        dataset = _dataset(contract, lake, name, columns)
        if _decides(contract, name):
            _make(connection, contract, name, columns, dataset)


def load_warning_references(connection: DuckDBPyConnection, contract: Contract, lake: Lake) -> None:
    """Make the tables of the references that only warn, once the rows are staged.

    Such a table holds only the values that the rows have: the lake may hold many times those of the batch.
    """
    for name, columns in _references(contract).items():
        if _decides(contract, name):
            continue
        among = " UNION ALL ".join(f"SELECT {quote(column)} AS {ALLOWED} FROM staged" for column in columns)
        dataset = _dataset(contract, lake, name, columns)
        _make(connection, contract, name, columns, dataset, among=f"SEMI JOIN ({among}) USING ({ALLOWED})")


def _references(contract: Contract) -> dict[str, list[str]]:
    """Return the fields that refer to each column of another table."""
    found: dict[str, list[str]] = {}
    for rule in contract.rules:
        if rule.reference:
            found.setdefault(rule.reference, []).append(rule.columns[0])
    return found


def _decides(contract: Contract, reference: str) -> bool:
    """Tell whether a rule of severity error reads the reference."""
    return any(rule.reference == reference and rule.severity == "error" for rule in contract.rules)


def _dataset(contract: Contract, lake: Lake, name: str, columns: Sequence[str]) -> ds.Dataset | None:
    """Return the table of a reference; None if it was never written.

    Raises:
        ContractError: see `load_references`.
    """
    dataset = lake.dataset(name.split(".", maxsplit=1)[0])
    for column in columns if dataset is not None else ():
        field = contract.field(column)
        if problem := _problem(dataset, field, name):
            where = f"schema.{contract.name}.properties.{field.name}.relationships"
            raise ContractError(contract.path, where, f"{problem}; the lake is {lake.url}")
    return dataset


def _make(
    connection: DuckDBPyConnection,
    contract: Contract,
    name: str,
    columns: Sequence[str],
    dataset: ds.Dataset | None,
    *,
    among: str = "",
) -> None:
    """Make the table of the values of one reference.

    Args:
        connection: where the table is made.
        contract: the contract.
        name: the reference, as table.column.
        columns: the fields that refer to it.
        dataset: the table; None allows no value.
        among: a join that keeps some of the values.
    """
    column = name.split(".")[1]
    empty = pa.table({column: pa.array([], contract.field(columns[0]).arrow_type)})
    connection.register("reference_rows", empty if dataset is None else dataset)
    connection.execute(JOIN_AS_WRITTEN)  # the rows of the batch are hashed, not those of the lake
    connection.execute(
        f"CREATE OR REPLACE TABLE {quote(name)} AS SELECT DISTINCT {ALLOWED} "
        f"FROM (SELECT {quote(column)} AS {ALLOWED} FROM reference_rows) {among} WHERE {ALLOWED} IS NOT NULL"
    )
    connection.execute(ALL_OPTIMIZERS)
    connection.unregister("reference_rows")


def _problem(dataset: ds.Dataset, field: Field, name: str) -> str | None:
    """Return the reason why a field cannot refer to a column of the lake, or None."""
    table, column = name.split(".")
    if column not in dataset.schema.names:
        return f"the table {table} has no column {column!r}; it has {', '.join(dataset.schema.names)}"
    kind = dataset.schema.field(column).type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if is_text if field.logical_type == "string" else pa.types.is_integer(kind):
        return None
    return f"{name} is a column of {kind}, but {field.name} is of type {field.logical_type}"
