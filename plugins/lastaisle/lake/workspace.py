"""Temporary databases of DuckDB, which are deleted after use.

The functions import DuckDB themselves: modules that import this one are imported before a fork.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY_LIMIT = "2GB"
# DuckDB estimates views and files as small and would hash their whole rows. With this the right side of a
# join is hashed.
JOIN_AS_WRITTEN = "SET disabled_optimizers = 'join_order,build_side_probe_side'"
JOIN_AS_ESTIMATED = "RESET disabled_optimizers"


@contextmanager
def open_workspace(memory_limit: str = MEMORY_LIMIT) -> Iterator[DuckDBPyConnection]:
    """Open DuckDB in UTC; data over the memory limit goes to a temporary folder.

    Never open one before a fork: DuckDB holds threads.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix="lastaisle-") as folder:
        settings = {"memory_limit": memory_limit, "temp_directory": folder, "TimeZone": "UTC"}
        connection = duckdb.connect(":memory:")
        try:
            for name, value in settings.items():
                connection.execute(f"SET {name} = '{value}'")
            # Every table here holds the number of the row, so the order of insertion does not matter.
            connection.execute("SET preserve_insertion_order = false")
            connection.execute("SET enable_progress_bar = false")
            yield connection
        finally:
            connection.close()


@contextmanager
def open_tables(**tables: Any) -> Iterator[DuckDBPyConnection]:
    """Open DuckDB in UTC over some tables, for one or two queries; never before a fork.

    Args:
        **tables: Arrow tables and datasets, by their names in SQL.
    """
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table)
        yield connection
