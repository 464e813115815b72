"""Quality entries with `type: sql`: one SELECT of DuckDB over the sound rows of a batch.

The query is the contract author's, so DuckDB runs it in a database of its own, which holds nothing but the
rows, opens no files and loads nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from open_data_contract_standard.model import DataQuality

from data_contracts.field import Field
from data_contracts.privacy import quote
from data_contracts.quality.batch_rules import BatchRule, parse_limits
from data_contracts.rules import parse_severity

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: The names that ODCS and datacontract-cli write for the table and the column, with or without a dollar sign.
_PLACEHOLDER = re.compile(r"\$?\{(object|table|model|property|column|field)\}")
_NAME_LENGTH = 80
_TABLE_WORDS = ("object", "table", "model")
_LOCKED = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}


def sql_rule(quality: DataQuality, table: str, field: Field | None = None) -> BatchRule:
    """Compile a query. Without a name, its name is made of the field, or the table, and of its description.

    Raises:
        ValueError: the entry has a unit or no operator, or it asks for the column of a table.
    """
    if quality.unit is not None:
        raise ValueError(f"unit: a query says itself what it counts, received {quality.unit!r}")
    _, limits = parse_limits(quality, booleans=True)

    def fill(match: re.Match[str]) -> str:
        if match[1] in _TABLE_WORDS:
            return quote(table)
        if field is None:
            raise ValueError(f"query: {match[0]} stands for a field, and the entry stands under the table")
        return quote(field.name)

    query = _PLACEHOLDER.sub(fill, str(quality.query or ""))
    words = f"{field.name if field else table} {quality.description or 'query'}"
    return BatchRule(
        quality.name or re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:_NAME_LENGTH],
        (field.name,) if field else (),
        query,
        limits,
        " ".join((quality.description or query).split()),
        parse_severity(quality.severity),
        is_query=True,
    )


def try_query(rule: BatchRule, table: str, fields: Sequence[Field]) -> None:
    """Let DuckDB run a query on a table without rows.

    Raises:
        ValueError: the query is no single SELECT of one value, or DuckDB refuses it.
    """
    columns = pa.schema([pa.field(field.name, field.arrow_type) for field in fields])
    measure(rule.measure, table, columns.empty_table())


def measure(query: str, table: str, rows: Any) -> Any:
    """Return the one value that a query gives.

    Args:
        query: one SELECT.
        table: the name under which the query finds the rows.
        rows: an Arrow table or dataset.

    Raises:
        ValueError: the query is no single SELECT of one value, or DuckDB refuses it.
    """
    import duckdb  # here, so that reading a contract's fields and features needs no DuckDB

    with _locked_database(table, rows) as connection:
        try:
            statements = connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise ValueError(f"query takes one SELECT, received {query!r}")
            found = connection.execute(statements[0]).fetchmany(2)
        except duckdb.Error as error:
            raise ValueError(f"query: DuckDB refuses {query!r}: {error}") from error
    if len(found) != 1 or len(found[0]) != 1:
        raise ValueError(f"query should give one row of one column, received {found!r} from {query!r}")
    return found[0][0]


@contextmanager
def _locked_database(table: str, rows: Any) -> Iterator[DuckDBPyConnection]:
    """Open DuckDB over some rows, without access to files, extensions, settings or Python's variables."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET memory_limit = '1GB'")
        connection.register(table, rows)
        for name, value in _LOCKED.items():
            connection.execute(f"SET {name} = {value}")
        yield connection
