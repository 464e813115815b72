"""Derive the rows that a batch adds to the history of the items, in a temporary database.

A row counts from its valid_from on. It is compared with the state of its item just before that time, so a row
that arrives late takes its place in the history and never replaces a newer row. A row that changes nothing
adds no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds

from data_contracts.contract import Contract
from data_contracts.privacy import literal, quote
from lastaisle.catalogue.job import Content
from lastaisle.ingest.staging.duplicates import make_repeated
from lastaisle.ingest.staging.staging_sql import SOUND

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LISTED_TWICE = "item_listed_twice"
_KEY = ("item_id", "valid_from")
#: Rows with one valid_from stand so close one after another, in the order of their arrival.
_TIE = "INTERVAL 1 MILLISECOND"
_STEP = "INTERVAL 1 MICROSECOND"


@dataclass(frozen=True)
class Removals:
    """The items that a full file no longer lists.

    Attributes:
        listed: the items that the catalogue listed before.
        missing: the items of these that the file does not list.
        unreadable: the rows of the file whose id cannot be read.
        is_cut: whether the end of the file is missing.
    """

    listed: int = 0
    missing: int = 0
    unreadable: int = 0
    is_cut: bool = False

    @property
    def is_doubtful(self) -> bool:
        """Whether the rows that cannot be read may be the missing items."""
        return bool(self.missing) and (self.is_cut or self.unreadable >= self.missing)


class Timeline:
    """The history of the items of a batch, with the rows of the batch in it.

    It fills the table `repeated` of the staging, and makes the tables `written` (the rows of the batch that
    change an item) and `gone` (a row for each item that a full file no longer lists).

    Args:
        connection: holds `staged`.
        contract: the contract of items.
        content: whether the rows are whole states, or changes of single fields.
        base: the time from which a row without valid_from counts.
    """

    def __init__(
        self, connection: DuckDBPyConnection, contract: Contract, content: Content, base: datetime
    ) -> None:
        self.connection = connection
        self.content = content
        self.base = f"TIMESTAMPTZ '{base.isoformat()}'"
        self.fields = [field.name for field in contract.fields if field.name not in _KEY]
        self.names = ", ".join(map(quote, self.fields))
        self.schema = pa.schema([*contract.arrow_schema(), pa.field("batch_id", pa.string())])
        self.contract = contract

    def derive(self, known: ds.Dataset | None, batch_id: str) -> None:
        """Compare the rows of the batch with the history.

        Args:
            known: the table items as it is now; None before its first row.
            batch_id: rows that a killed run of this batch wrote do not count.
        """
        make_repeated(self.connection)
        self._make_history(known, batch_id)
        self._make_given()
        if self.content == "full":
            self._mark_listed_twice()
        self._mark_arrived_before()
        self._make_written()
        self._make_gone()

    def removals(self) -> Removals:
        """Count the items that a full file no longer lists, and the rows that may hide them."""
        if self.content != "full":
            return Removals()
        id_rules = [rule.name for rule in self.contract.rules if rule.columns == ("item_id",)]
        broken_id = f"list_has_any(_rules, [{', '.join(map(literal, id_rules))}])"
        return Removals(
            listed=self._count("SELECT count(*) FROM listed"),
            missing=self._count("SELECT count(*) FROM gone"),
            unreadable=self._count(
                f"SELECT count(*) FROM staged WHERE _rules IS NOT NULL AND (item_id IS NULL OR {broken_id})"
            ),
            is_cut=bool(self._count("SELECT count(*) FROM staged WHERE _rules = ['file_truncated']")),
        )

    def has_dates(self) -> bool:
        """Tell whether a sound row says itself from when on it counts."""
        return bool(self._count(f"SELECT count(*) FROM staged WHERE {SOUND} AND valid_from IS NOT NULL"))

    def rows(self, batch_id: str, *, removing: bool, confirmed: list[datetime]) -> pa.Table:
        """Return the rows for the table items.

        Args:
            batch_id: the id of the batch.
            removing: whether missing items are removed.
            confirmed: the moments whose whole catalogue full files listed. A row that counts from before such
                a moment says nothing about the time after it.
        """
        changes = f"SELECT item_id, valid_from, {self.names} FROM written"
        if removing:
            changes += f" UNION ALL SELECT item_id, valid_from, {self.names} FROM gone"
        self.connection.execute(f"CREATE OR REPLACE TABLE changes AS {changes}")
        restored = self._restored(confirmed) if confirmed else ""
        found = self.connection.sql(
            f"SELECT item_id, valid_from, {self.names}, {literal(batch_id)} AS batch_id "
            f"FROM (SELECT * FROM changes {restored}) ORDER BY item_id, valid_from"
        )
        return found.to_arrow_table().cast(self.schema)

    def _make_history(self, known: ds.Dataset | None, batch_id: str) -> None:
        """Make the table `history`: all rows of the items, without those of this batch."""
        empty = pa.schema([*self.contract.arrow_schema(), pa.field("batch_id", pa.string())]).empty_table()
        dataset = empty if known is None else known
        has = set(dataset.schema.names)
        columns = ", ".join(
            f"TRY_CAST({quote(field.name) if field.name in has else 'NULL'} AS {field.sql_type}) "
            f"AS {quote(field.name)}"
            for field in self.contract.fields
        )
        of_batch = "" if self.content == "full" else "AND item_id IN (SELECT item_id FROM staged)"
        self.connection.register("items_rows", dataset)
        self.connection.execute(
            f"""CREATE OR REPLACE TABLE history AS SELECT {columns} FROM items_rows
                WHERE batch_id <> $batch_id {of_batch}""",
            {"batch_id": batch_id},
        )
        self.connection.unregister("items_rows")

    def _make_given(self) -> None:
        """Make the table `given`: the sound rows, each with the time that it states."""
        self.connection.execute(f"""
            CREATE OR REPLACE TABLE given AS
            SELECT rowid AS place, row_number() OVER (ORDER BY _source_row, _sub_row) AS position,
              item_id, coalesce(valid_from, {self.base}) AS stated, valid_from IS NOT NULL AS dated,
              {self.names}
            FROM staged WHERE {SOUND}""")

    def _mark_listed_twice(self) -> None:
        """Keep the first row of an item in a full file; another state for the same time is a broken row."""
        same = self._same("later", "kept")
        first = "row_number() OVER (PARTITION BY item_id, stated ORDER BY position) = 1"
        self.connection.execute(f"""
            INSERT INTO repeated
            SELECT later.place, CASE WHEN NOT ({same}) THEN '{LISTED_TWICE}' END
            FROM given AS later JOIN (SELECT * FROM given QUALIFY {first}) AS kept
              ON later.item_id = kept.item_id AND later.stated = kept.stated
            WHERE later.place <> kept.place""")
        self._drop_repeated()

    def _mark_arrived_before(self) -> None:
        """Mark the rows that state a time at which the history already holds their values."""
        tests = self._same("given", "history")
        if self.content == "changes":
            tests = " AND ".join(
                f"(given.{quote(name)} IS NULL OR given.{quote(name)} = history.{quote(name)})"
                for name in self.fields
            )
        self.connection.execute(f"""
            INSERT INTO repeated
            SELECT DISTINCT place, NULL::VARCHAR FROM given JOIN history ON given.item_id = history.item_id
              AND history.valid_from >= stated AND history.valid_from < stated + {_TIE}
            WHERE dated AND {tests}""")
        self._drop_repeated()

    def _drop_repeated(self) -> None:
        self.connection.execute("DELETE FROM given WHERE place IN (SELECT _place FROM repeated)")

    def _make_written(self) -> None:
        """Put the rows into the history of their items; those that change something become `written`."""
        self.connection.execute(f"""
            CREATE OR REPLACE TABLE placed AS
            SELECT given.*, coalesce(taken + {_STEP}, stated) + {_STEP} * (
                row_number() OVER (PARTITION BY item_id, stated ORDER BY position) - 1) AS valid_from
            FROM given LEFT JOIN (
              SELECT given.place, max(history.valid_from) AS taken FROM given JOIN history
                ON given.item_id = history.item_id
                AND history.valid_from >= stated AND history.valid_from < stated + {_TIE}
              GROUP BY ALL) AS ties USING (place)""")
        whole = str(self.content == "full").lower()
        self.connection.execute(f"""
            CREATE OR REPLACE TABLE line AS
            SELECT item_id, valid_from, NULL::BIGINT AS place, true AS whole, {self.names}
            FROM history SEMI JOIN placed USING (item_id)
            UNION ALL SELECT item_id, valid_from, place, {whole}, {self.names} FROM placed""")
        filled = ", ".join(map(self._filled, self.fields))
        state = f"struct_pack({', '.join(f'{quote(name)} := {quote(name)}' for name in self.fields)})"
        self.connection.execute(f"""
            CREATE OR REPLACE TABLE compared AS
            WITH spans AS (SELECT *, count_if(whole) OVER (PARTITION BY item_id ORDER BY valid_from) AS span
              FROM line),
            filled AS (SELECT item_id, valid_from, place, {filled} FROM spans)
            SELECT *, {state} IS DISTINCT FROM lag({state}) OVER before
              AND NOT (removed AND coalesce(lag(removed) OVER before, true)) AS changed
            FROM filled WINDOW before AS (PARTITION BY item_id ORDER BY valid_from)""")
        self.connection.execute("""
            INSERT INTO repeated
            SELECT place, NULL::VARCHAR FROM compared WHERE place IS NOT NULL AND NOT changed""")
        self.connection.execute(
            "CREATE OR REPLACE TABLE written AS SELECT * FROM compared WHERE place IS NOT NULL AND changed"
        )

    def _make_gone(self) -> None:
        """Make `listed`, the items that are listed at the base, and `gone`, those that no row names."""
        self.connection.execute(f"""
            CREATE OR REPLACE TABLE listed AS SELECT * FROM (
              SELECT * FROM history WHERE valid_from < {self.base} + {_TIE}
              QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY valid_from DESC) = 1)
            WHERE NOT coalesce(removed, false)""")
        self.connection.execute(f"""
            CREATE OR REPLACE TABLE gone AS
            SELECT * REPLACE (greatest({self.base}, valid_from + {_STEP}) AS valid_from, true AS removed)
            FROM listed ANTI JOIN (SELECT item_id FROM staged WHERE item_id IS NOT NULL) USING (item_id)""")

    def _restored(self, confirmed: list[datetime]) -> str:
        """Return SQL of the rows that state the earlier catalogue again after rows that arrived late.

        A full file listed the whole catalogue at a later moment. Its rows that changed nothing left no trace,
        so a late row would otherwise count beyond that moment.
        """
        moments = ", ".join(f"(TIMESTAMPTZ '{moment.isoformat()}')" for moment in confirmed)
        fields = ", ".join(
            f"CASE WHEN before.item_id IS NULL THEN {value} ELSE before.{quote(name)} END AS {quote(name)}"
            for name in self.fields
            for value in ["true" if name == "removed" else f"late.{quote(name)}"]
        )
        return f"""
            UNION ALL
            SELECT late.item_id, late.moment AS valid_from, {fields}
            FROM (
              SELECT * FROM (SELECT *, (SELECT min(moment) FROM (VALUES {moments}) AS moments(moment)
                  WHERE moment > changes.valid_from) AS moment FROM changes)
              WHERE moment IS NOT NULL
              QUALIFY row_number() OVER (PARTITION BY item_id, moment ORDER BY valid_from DESC) = 1
            ) AS late
            LEFT JOIN history AS next ON next.item_id = late.item_id
              AND next.valid_from > late.valid_from AND next.valid_from <= late.moment
            ASOF LEFT JOIN history AS before
              ON before.item_id = late.item_id AND late.valid_from >= before.valid_from
            WHERE next.item_id IS NULL"""

    def _filled(self, name: str) -> str:
        """Return SQL of a field after all changes up to its row."""
        if name == "removed":  # a change of an item lists it again, unless the change removes it
            return "coalesce(removed, false) AS removed"
        value = (
            f"last_value({quote(name)} IGNORE NULLS) OVER (PARTITION BY item_id, span ORDER BY valid_from)"
        )
        return f"coalesce({value}, true) AS available" if name == "available" else f"{value} AS {quote(name)}"

    def _same(self, one: str, other: str) -> str:
        """Return the condition that two rows are the same whole state."""
        absent = {"available": "true", "removed": "false"}

        def value(row: str, name: str) -> str:
            column = f"{row}.{quote(name)}"
            return f"coalesce({column}, {absent[name]})" if name in absent else column

        return " AND ".join(
            f"{value(one, name)} IS NOT DISTINCT FROM {value(other, name)}" for name in self.fields
        )

    def _count(self, query: str) -> int:
        return int(self.connection.execute(query).fetchall()[0][0])
