"""Find the sound rows whose event_id was read before; tell the same event from another event under its id.

The first row that was read is kept: in a batch by the order of the lines, in the lake by the order of the
batches. A later row with the same contents is a duplicate. A later row with other contents goes to quarantine
with the rule `event_id_reused`, since one of both events would be lost otherwise.

Contents are all fields of the contract but the id and the time of receipt. The time of the event may differ
by five minutes: a collector that corrects a sender's clock gives an event that is sent again a slightly
different time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pyarrow.dataset as ds

from data_contracts.contract import Contract
from data_contracts.privacy import literal, quote
from lastaisle.ingest.staging.staging_sql import SOUND
from lastaisle.lake.workspace import ALL_OPTIMIZERS, JOIN_AS_WRITTEN

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

REUSED = "event_id_reused"
SAME_TIME = timedelta(minutes=5)
_NO_CONTENTS = ("event_id", "received_at", "occurred_at")
_SOUND_IDS = f"(SELECT event_id FROM staged WHERE {SOUND})"


def make_repeated(connection: DuckDBPyConnection) -> None:
    """Make the table `repeated` without rows.

    Columns: _place, the row id in `staged`; _rule, NULL for a duplicate, else the rule that the row breaks.
    """
    connection.execute("CREATE OR REPLACE TABLE repeated (_place BIGINT, _rule VARCHAR)")


def mark_inside(connection: DuckDBPyConnection, contract: Contract) -> None:
    """Mark the sound rows of `staged` whose event_id stands earlier in `staged`."""
    same = _same("later", "kept", contract, [field.name for field in contract.fields])
    connection.execute(f"""
        INSERT INTO repeated
        WITH ranked AS (
          SELECT *, rowid AS _place,
                 row_number() OVER (PARTITION BY event_id ORDER BY _source_row, _sub_row) AS _occurrence
          FROM staged WHERE {SOUND} AND event_id IN (
            SELECT event_id FROM staged WHERE {SOUND} GROUP BY event_id HAVING count(*) > 1))
        SELECT later._place, CASE WHEN NOT ({same}) THEN '{REUSED}' END
        FROM ranked AS later JOIN ranked AS kept ON later.event_id = kept.event_id
        WHERE later._occurrence > 1 AND kept._occurrence = 1""")


def mark_known(
    connection: DuckDBPyConnection,
    contract: Contract,
    known: ds.Dataset,
    batch_id: str,
    days: Sequence[date] = (),
) -> None:
    """Mark the sound rows of `staged` whose event_id stands in raw_events.

    The first query reads only the column event_id; a bound on it spares files whose ids lie elsewhere, as the
    ids of other days do where ids begin with a time. The second query reads whole rows, of the days on which
    the first query found an id.

    Args:
        connection: holds `staged` and `repeated`.
        contract: the contract of raw_events.
        known: raw_events as it is now.
        batch_id: the id of this batch; rows that a killed run of this batch wrote do not count.
        days: the days to search; all days by default.
    """
    low, high = connection.execute(f"SELECT min(event_id), max(event_id) FROM {_SOUND_IDS}").fetchall()[0]
    if low is None:
        return
    connection.register("known", known)
    # DuckDB would hash the event ids of the lake, which may be many times those of the batch.
    connection.execute(JOIN_AS_WRITTEN)
    others = "batch_id <> $batch_id AND event_id BETWEEN $low AND $high"
    given = {"batch_id": batch_id, "low": low, "high": high}
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE known_ids AS SELECT DISTINCT event_id, event_date
        FROM known SEMI JOIN {_SOUND_IDS} USING (event_id) WHERE {others}{_on(days)}""",
        given,
    )
    found = connection.execute("SELECT DISTINCT event_date FROM known_ids ORDER BY 1").fetchall()
    if found:
        columns = [field.name for field in contract.fields if field.name in known.schema.names]
        connection.execute(
            f"""
            CREATE OR REPLACE TABLE known_rows AS
            SELECT {", ".join(map(quote, columns))}, contract_version AS _version
            FROM known SEMI JOIN known_ids USING (event_id) WHERE {others}{_on([day for (day,) in found])}""",
            given,
        )
        same = _same("later", "kept", contract, columns, known=True)
        connection.execute("""DELETE FROM repeated WHERE _place IN (
            SELECT staged.rowid FROM staged SEMI JOIN known_ids USING (event_id))""")
        connection.execute(f"""
            INSERT INTO repeated
            SELECT later.rowid, CASE WHEN NOT bool_or({same}) THEN '{REUSED}' END
            FROM staged AS later JOIN known_rows AS kept ON later.event_id = kept.event_id
            WHERE {SOUND} GROUP BY later.rowid""")
        connection.execute("DROP TABLE known_rows")
    connection.execute(ALL_OPTIMIZERS)
    connection.unregister("known")


def _on(days: Sequence[date]) -> str:
    """Return the further condition that a row lies on one of some days; nothing for no days."""
    listed = ", ".join(f"DATE '{day}'" for day in sorted(days))
    return f" AND event_date IN ({listed})" if listed else ""


def _same(later: str, kept: str, contract: Contract, columns: Sequence[str], *, known: bool = False) -> str:
    """Return the condition that two rows have the same contents.

    Args:
        later: the relation of the later row.
        kept: the relation of the row that is kept.
        contract: the contract of raw_events.
        columns: the fields that the kept row has.
        known: whether the kept row comes from the lake. If another version of the contract typed it, an
            absent value proves nothing: that version may not have had the field.
    """
    microseconds = SAME_TIME // timedelta(microseconds=1)
    tests = [f"abs(epoch_us({later}.occurred_at) - epoch_us({kept}.occurred_at)) <= {microseconds}"]
    for field in contract.fields:
        if field.name in _NO_CONTENTS or field.name not in columns:
            continue
        before = f"TRY_CAST({kept}.{quote(field.name)} AS {field.sql_type})"
        test = f"{later}.{quote(field.name)} IS NOT DISTINCT FROM {before}"
        if known:
            older = f"{kept}._version IS DISTINCT FROM {literal(contract.version)}"
            test = f"({test} OR ({before} IS NULL AND {older}))"
        tests.append(test)
    return " AND ".join(tests)
