"""The values that the reference rules of a contract allow: the columns of the lake that fields refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds

from data_contracts.contract import Contract
from data_contracts.errors import ContractError
from data_contracts.field import Field
from data_contracts.privacy import quote
from data_contracts.rules import ALLOWED
from lastaisle.lake import Lake

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def load_references(connection: DuckDBPyConnection, contract: Contract, lake: Lake) -> None:
    """Make a table "table.column" of the allowed values for each reference; a missing table allows no value.

    Raises:
        ContractError: the table has no such column, or its type is not the type of the field.
    """
    for rule in (rule for rule in contract.rules if rule.reference):
        name, field = str(rule.reference), contract.field(rule.columns[0])
        table, column = name.split(".")
        dataset = lake.dataset(table)
        problem = None if dataset is None else _problem(dataset, field, name)
        if problem:
            where = f"schema.{contract.name}.properties.{field.name}.relationships"
            raise ContractError(contract.path, where, f"{problem}; the lake is {lake.url}")
        empty = pa.table({column: pa.array([], field.arrow_type)})
        connection.register("reference_rows", empty if dataset is None else dataset)
        connection.execute(
            f"CREATE OR REPLACE TABLE {quote(name)} AS SELECT DISTINCT {quote(column)} AS {ALLOWED} "
            f"FROM reference_rows WHERE {quote(column)} IS NOT NULL"
        )
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
