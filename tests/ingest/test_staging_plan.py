"""The SQL that judges rows reads a text only where a CASE asks for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from data_contracts.contract import load_contract
from lastaisle.ingest.reading.lines import LINES
from lastaisle.ingest.sources import adapter
from lastaisle.ingest.staging.staging import Staging
from lastaisle.lake.workspace import open_workspace


class Explained:
    """A connection that keeps DuckDB's plan of the table of staged rows."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.plan = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, query: str, parameters: Any = None) -> Any:
        if query.startswith("CREATE TABLE staged"):
            self.plan = self.connection.execute(f"EXPLAIN {query}", parameters).fetchall()[0][1]
        return self.connection.execute(query, parameters)


def test_no_list_becomes_a_join_that_reads_every_row(shop):
    lines = pa.RecordBatch.from_pylist([{"source_row": 1, "payload": "{}\n", "reason": None}], schema=LINES)
    with open_workspace() as connection:
        explained = Explained(connection)
        Staging(explained, load_contract("raw_events"), datetime.now(UTC)).load(
            [lines], adapter("canonical"), shop.lake
        )
        assert "CREATE_TABLE_AS" in explained.plan.upper().replace(" ", "_")
        assert "JOIN" not in explained.plan.upper()
        assert connection.execute("SELECT current_setting('disabled_optimizers')").fetchall() == [("",)]
