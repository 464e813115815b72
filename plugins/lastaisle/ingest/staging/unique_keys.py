"""Find the sound rows whose unique key another row has, in the batch or anywhere in the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.dataset as ds

from data_contracts.contract import Contract
from data_contracts.privacy import literal, quote
from data_contracts.uniqueness import UniqueKey
from lastaisle.ingest.staging.staging_sql import SOUND
from lastaisle.lake.workspace import ALL_OPTIMIZERS, JOIN_AS_WRITTEN

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: The sound rows that no earlier mark took out.
_LEFT = f"staged ANTI JOIN repeated ON repeated._place = staged.rowid WHERE {SOUND}"


def mark_unique_keys(
    connection: DuckDBPyConnection, contract: Contract, known: ds.Dataset | None, batch_id: str
) -> None:
    """Mark every row whose key an earlier row of the batch has, or a row of another batch.

    A row that lacks a field of the key is not compared. A key with the id of the row in it needs no search,
    since that id is unique alone. A row is marked once, with the first key that it breaks.

    Args:
        connection: holds `staged`, and `repeated` with the duplicates.
        contract: the contract of the rows.
        known: the table as it is now, or None before its first row.
        batch_id: the id of this batch; rows that a killed run of this batch wrote do not count.
    """
    for key in contract.unique_keys:
        if contract.row_id in key.columns:
            continue
        if known is not None and set(key.columns) <= set(known.schema.names):
            _mark_known(connection, contract, key, known, batch_id)
        connection.execute(f"""
            INSERT INTO repeated
            SELECT _place, {literal(key.name)} FROM (
              SELECT staged.rowid AS _place,
                     row_number() OVER (PARTITION BY {_listed(key)} ORDER BY _source_row, _sub_row)
                       AS _occurrence
              FROM {_LEFT} AND {_complete(key)})
            WHERE _occurrence > 1""")


def _mark_known(
    connection: DuckDBPyConnection, contract: Contract, key: UniqueKey, known: ds.Dataset, batch_id: str
) -> None:
    """Mark the rows whose key stands in another batch of the table, on any day."""
    typed = ", ".join(
        f"TRY_CAST({quote(name)} AS {contract.field(name).sql_type}) AS {quote(name)}" for name in key.columns
    )
    connection.register("known", known)
    # DuckDB would hash the keys of the lake, which may be many times those of the batch.
    connection.execute(JOIN_AS_WRITTEN)
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE known_keys AS SELECT DISTINCT {_listed(key)}
        FROM (SELECT {typed} FROM known WHERE batch_id <> $batch_id)
        SEMI JOIN (SELECT {_listed(key)} FROM {_LEFT}) USING ({_listed(key)})""",
        {"batch_id": batch_id},
    )
    connection.execute(ALL_OPTIMIZERS)
    connection.unregister("known")
    connection.execute(f"""
        INSERT INTO repeated
        SELECT _place, {literal(key.name)} FROM (SELECT staged.rowid AS _place, {_listed(key)} FROM {_LEFT})
        SEMI JOIN known_keys USING ({_listed(key)})""")


def _listed(key: UniqueKey) -> str:
    return ", ".join(map(quote, key.columns))


def _complete(key: UniqueKey) -> str:
    return " AND ".join(f"{quote(name)} IS NOT NULL" for name in key.columns)
