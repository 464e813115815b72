"""Find the sound rows whose id was read before; tell the same row from another row under its id.

The contract names the field of the id (`Contract.row_id`), such as event_id. The first row that was read is
kept: in a batch by the order of the lines, in the lake by the order of the batches. A later row with the same
contents is a duplicate. A later row with other contents goes to quarantine with a rule such as
`event_id_reused`, since one of both events would be lost otherwise.

Contents are all fields of the contract but the id and the time of receipt, unless `Contents` says otherwise.
The time of the event may differ by five minutes: a collector that corrects a sender's clock gives an event
that is sent again a slightly different time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import pyarrow.dataset as ds

from data_contracts.contract import Contract
from data_contracts.privacy import literal, quote
from lastaisle.ingest.staging.staging_sql import SOUND
from lastaisle.lake.workspace import ALL_OPTIMIZERS, JOIN_AS_WRITTEN

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SAME_TIME = timedelta(minutes=5)
_NO_CONTENTS = ("received_at", "occurred_at")
#: Added to the name of a field, this names the column that says whether a row of the lake tells it.
_UNTOLD = "_untold_"


@dataclass(frozen=True)
class Contents:
    """What is compared of two rows with one id.

    Attributes:
        only: the only fields that are compared, without the time; None compares all fields and the time.
        untold: for a field, the SQL over a row of the table of the condition under which the row says nothing
            about the field, so that another value makes no other contents.
    """

    only: tuple[str, ...] | None = None
    untold: Mapping[str, str] = field(default_factory=dict)


ALL_CONTENTS: Final = Contents()


def reused_rule(contract: Contract) -> str:
    """Return the rule that a row with other contents under a known id breaks, such as event_id_reused."""
    return f"{contract.row_id}_reused"


def make_repeated(connection: DuckDBPyConnection) -> None:
    """Make the table `repeated` without rows.

    Columns: _place, the row id in `staged`; _rule, NULL for a duplicate, else the rule that the row breaks.
    """
    connection.execute("CREATE OR REPLACE TABLE repeated (_place BIGINT, _rule VARCHAR)")


def mark_inside(
    connection: DuckDBPyConnection, contract: Contract, contents: Contents = ALL_CONTENTS
) -> None:
    """Mark the sound rows of `staged` whose id stands earlier in `staged`."""
    key = quote(contract.row_id)
    same = _same(contract, [entry.name for entry in contract.fields], contents)
    connection.execute(f"""
        INSERT INTO repeated
        WITH ranked AS (
          SELECT *, rowid AS _place,
                 row_number() OVER (PARTITION BY {key} ORDER BY _source_row, _sub_row) AS _occurrence
          FROM staged WHERE {SOUND} AND {key} IN (
            SELECT {key} FROM staged WHERE {SOUND} GROUP BY {key} HAVING count(*) > 1))
        SELECT later._place, CASE WHEN NOT ({same}) THEN {literal(reused_rule(contract))} END
        FROM ranked AS later JOIN ranked AS kept ON later.{key} = kept.{key}
        WHERE later._occurrence > 1 AND kept._occurrence = 1""")


def mark_known(
    connection: DuckDBPyConnection,
    contract: Contract,
    known: ds.Dataset,
    batch_id: str,
    days: Sequence[date] = (),
    *,
    contents: Contents = ALL_CONTENTS,
) -> None:
    """Mark the sound rows of `staged` whose id stands in the table.

    The first query reads only the column of the id; a bound on it spares files whose ids lie elsewhere, as
    the ids of other days do where ids begin with a time. The second query reads whole rows, of the days on
    which the first query found an id.

    Args:
        connection: holds `staged` and `repeated`.
        contract: the contract of the rows.
        known: the table as it is now.
        batch_id: the id of this batch; rows that a killed run of this batch wrote do not count.
        days: the days to search; all days by default.
        contents: what is compared.
    """
    key = quote(contract.row_id)
    ids = f"(SELECT {key} FROM staged WHERE {SOUND})"
    low, high = connection.execute(f"SELECT min({key}), max({key}) FROM {ids}").fetchall()[0]
    if low is None:
        return
    connection.register("known", known)
    # DuckDB would hash the ids of the lake, which may be many times those of the batch.
    connection.execute(JOIN_AS_WRITTEN)
    others = f"batch_id <> $batch_id AND {key} BETWEEN $low AND $high"
    given = {"batch_id": batch_id, "low": low, "high": high}
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE known_ids AS SELECT DISTINCT {key}, event_date
        FROM known SEMI JOIN {ids} USING ({key}) WHERE {others}{_on(days)}""",
        given,
    )
    found = connection.execute("SELECT DISTINCT event_date FROM known_ids ORDER BY 1").fetchall()
    if found:
        columns = [entry.name for entry in contract.fields if entry.name in known.schema.names]
        asked = {name: test for name, test in contents.untold.items() if name in columns}
        tests = "".join(f", ({test}) AS {quote(_UNTOLD + name)}" for name, test in asked.items())
        connection.execute(
            f"""
            CREATE OR REPLACE TABLE known_rows AS
            SELECT {", ".join(map(quote, columns))}, contract_version AS _version{tests}
            FROM known SEMI JOIN known_ids USING ({key}) WHERE {others}{_on([day for (day,) in found])}""",
            given,
        )
        _mark_found(connection, contract, columns, contents)
    connection.execute(ALL_OPTIMIZERS)
    connection.unregister("known")


def _mark_found(
    connection: DuckDBPyConnection, contract: Contract, columns: Sequence[str], contents: Contents
) -> None:
    """Note the sound rows of `staged` in `repeated`, with a rule where the row of `known_rows` differs."""
    key = quote(contract.row_id)
    same = _same(contract, columns, contents, known=True)
    connection.execute(f"""DELETE FROM repeated WHERE _place IN (
        SELECT staged.rowid FROM staged SEMI JOIN known_ids USING ({key}))""")
    connection.execute(f"""
        INSERT INTO repeated
        SELECT later.rowid, CASE WHEN NOT bool_or({same}) THEN {literal(reused_rule(contract))} END
        FROM staged AS later JOIN known_rows AS kept ON later.{key} = kept.{key}
        WHERE {SOUND} GROUP BY later.rowid""")
    connection.execute("DROP TABLE known_rows")


def _on(days: Sequence[date]) -> str:
    """Return the further condition that a row lies on one of some days; nothing for no days."""
    listed = ", ".join(f"DATE '{day}'" for day in sorted(days))
    return f" AND event_date IN ({listed})" if listed else ""


def _same(contract: Contract, columns: Sequence[str], contents: Contents, *, known: bool = False) -> str:
    """Return the condition that the rows `later` and `kept` have the same contents.

    Args:
        contract: the contract of the rows.
        columns: the fields that the kept row has.
        contents: what is compared.
        known: whether the kept row comes from the lake. If another version of the contract typed it, an
            absent value proves nothing: that version may not have had the field.
    """
    microseconds = SAME_TIME // timedelta(microseconds=1)
    near = f"abs(epoch_us(later.occurred_at) - epoch_us(kept.occurred_at)) <= {microseconds}"
    tests = [near] if contents.only is None else []
    for entry in contract.fields:
        name = entry.name
        if name in (contract.row_id, *_NO_CONTENTS) or name not in columns:
            continue
        if contents.only is not None and name not in contents.only:
            continue
        before = f"TRY_CAST(kept.{quote(name)} AS {entry.sql_type})"
        test = f"later.{quote(name)} IS NOT DISTINCT FROM {before}"
        if known:
            older = f"kept._version IS DISTINCT FROM {literal(contract.version)}"
            test = f"({test} OR ({before} IS NULL AND {older}))"
        if known and name in contents.untold:
            test = f"({test} OR coalesce(kept.{quote(_UNTOLD + name)}, true))"
        tests.append(test)
    return " AND ".join(tests)
