"""Temporary databases of DuckDB, which are deleted after use.

The functions import DuckDB themselves: modules that import this one are imported before a fork.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lastaisle.lake.errors import LakeUnusableError, clear_errors

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyarrow.dataset import Dataset

MEMORY_LIMIT = "2GB"
# DuckDB estimates views and files as small and would hash their whole rows. With this the right side of a
# join is hashed.
JOIN_AS_WRITTEN = "SET disabled_optimizers = 'join_order,build_side_probe_side'"
# DuckDB makes a join of a list of more than a few values. The join reads the text of every row, even where a
# CASE around the list leaves the row out.
LISTS_AS_WRITTEN = "SET disabled_optimizers = 'in_clause'"
ALL_OPTIMIZERS = "RESET disabled_optimizers"


@contextmanager
def open_workspace(memory_limit: str = MEMORY_LIMIT, *, writes_to: str = "") -> Iterator[DuckDBPyConnection]:
    """Open DuckDB in UTC; data over the memory limit goes to a temporary folder.

    Never open one before a fork: DuckDB holds threads.

    Args:
        memory_limit: as DuckDB writes it, such as 2GB.
        writes_to: the lake into which `Query` writes files. DuckDB reaches no other folder, and no network.
    """
    with _open(memory_limit, writes_to) as connection:
        # Every table here holds the number of the row, so the order of insertion does not matter.
        connection.execute("SET preserve_insertion_order = false")
        _lock(connection)
        yield connection


@contextmanager
def open_tables(**tables: Any) -> Iterator[DuckDBPyConnection]:
    """Open DuckDB in UTC over some tables, for one or two queries; never before a fork.

    DuckDB reaches nothing but these tables. Data over the memory limit goes to a temporary folder.

    Args:
        **tables: Arrow tables and datasets, by their names in SQL.
    """
    with _open(MEMORY_LIMIT, "") as connection:
        _lock(connection)
        for name, table in tables.items():
            connection.register(name, table)
        yield connection


@contextmanager
def read_tables(url: str, **tables: Any) -> Iterator[DuckDBPyConnection]:
    """Open DuckDB over some tables of a lake, as `open_tables` does; an error says what cannot be read.

    Args:
        url: the lake, for the message.
        **tables: Arrow tables and datasets, by their names in the lake.

    Raises:
        LakeUnusableError: the tables lack a column of the query, or hold values of another kind.
    """
    import duckdb

    names = ", ".join(tables)
    try:
        with clear_errors(f"read table {names}", url), open_tables(**tables) as connection:
            yield connection
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise LakeUnusableError(f"cannot read table {names} of the lake {url}: {reason}") from error


def make_view(
    connection: DuckDBPyConnection, name: str, stored: Dataset | None, columns: Mapping[str, str]
) -> None:
    """Make a view of some columns of a stored table; a column that the table lacks is NULL.

    Args:
        connection: the database; the stored table itself is there as `<name>_stored`.
        name: the name of the view.
        stored: the table; None, if there is none: then the view has no rows.
        columns: name to type in DuckDB; see `lastaisle.lake.query.columns_sql`.
    """
    present = () if stored is None else stored.schema.names
    listed = ", ".join(
        f'"{column}"' if column in present else f'NULL::{kind} AS "{column}"'
        for column, kind in columns.items()
    )
    rows = "WHERE false" if stored is None else f"FROM {name}_stored"
    if stored is not None:
        connection.register(f"{name}_stored", stored)
    connection.execute(f"CREATE TEMP VIEW {name} AS SELECT {listed} {rows}")


@contextmanager
def _open(memory_limit: str, writes_to: str) -> Iterator[DuckDBPyConnection]:
    import duckdb

    with tempfile.TemporaryDirectory(prefix="lastaisle-") as folder, duckdb.connect(":memory:") as connection:
        settings = {"memory_limit": memory_limit, "temp_directory": folder, "TimeZone": "UTC"}
        for name, value in settings.items():
            connection.execute(f"SET {name} = {_literal(value)}")
        connection.execute("SET enable_progress_bar = false")
        reached = [folder, *([writes_to] if writes_to and "://" not in writes_to else [])]
        connection.execute(f"SET allowed_directories = [{', '.join(map(_literal, reached))}]")
        yield connection


def _lock(connection: DuckDBPyConnection) -> None:
    """Take away access to files and the network, and fix all settings but that of the joins."""
    connection.execute("SET enable_external_access = false")
    connection.execute("SET allowed_configs = ['disabled_optimizers']")
    connection.execute("SET lock_configuration = true")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
