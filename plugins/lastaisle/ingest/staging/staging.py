"""The rows of one batch in a temporary database: typed, judged by every rule, with duplicates marked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from data_contracts.contract import Contract
from data_contracts.privacy import literal, quote
from data_contracts.rules import ALLOWED
from lastaisle.errors import LastaisleError, ReconciliationError, SourceError
from lastaisle.ingest.reading.lines import LINES
from lastaisle.ingest.report import fold_reasons
from lastaisle.ingest.sources import Adapter
from lastaisle.ingest.staging.duplicates import (
    ALL_CONTENTS,
    Contents,
    make_repeated,
    mark_inside,
    mark_known,
)
from lastaisle.ingest.staging.references import load_references, load_warning_references
from lastaisle.ingest.staging.staging_sql import (
    PAYLOAD_CHARACTERS,
    SOUND,
    count_values,
    dropping_tests,
    row_tests,
    staged_sql,
)
from lastaisle.ingest.staging.unique_keys import mark_unique_keys
from lastaisle.lake import Lake, Query
from lastaisle.lake.tables import INGESTION_ADDED, QUARANTINE_SCHEMA
from lastaisle.lake.workspace import ALL_OPTIMIZERS, LISTS_AS_WRITTEN

CLEAN = f"staged ANTI JOIN repeated ON repeated._place = staged.rowid WHERE {SOUND}"
REASON_CHARACTERS = 100
FIRST_LINES = 1000
_MICROSECOND = timedelta(microseconds=1)
_QUOTED = re.compile(r"""(["'`]).*\1""")
#: What the rows of a file may cause. Other errors of DuckDB are faults of our SQL.
_OF_THE_ROWS = (duckdb.DataError, duckdb.OperationalError, duckdb.InvalidInputException)


def _without_values(error: duckdb.Error) -> str:
    """Return the first line of an error without the texts in quotes, which may be values of a row."""
    return _QUOTED.sub("…", str(error).splitlines()[0])


class Staging:
    """Tables of a temporary database: `staged` and `repeated`.

    `staged` holds every row. `_rules` holds the rules that a broken row broke, `_ignored` the reason why a
    row is of no interest; both are NULL for a sound row.

    `repeated` holds the sound rows whose id was read before: see `lastaisle.ingest.staging.duplicates`.

    Attributes:
        first_lines: some unchanged lines of the source.

    Args:
        connection: from `open_workspace`.
        contract: the contract of the rows.
        now: the time of this ingestion.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, contract: Contract, now: datetime) -> None:
        self.connection = connection
        self.contract = contract
        self.now = now
        self.names = [quote(field.name) for field in contract.fields]
        self.first_lines: pa.Array = pa.array([], pa.string())

    def load(self, lines: Iterable[pa.RecordBatch], adapter: Adapter, lake: Lake) -> None:
        """Turn lines into typed rows, each with the names of all rules that it broke.

        Raises:
            SourceError: DuckDB cannot read the rows, or has no memory or disk left for them.
        ReconciliationError: the number of lines is not the number of rows from the adapter.
        """
        read = 0
        failure: LastaisleError | None = None

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal read, failure
            try:
                for batch in lines:
                    if not read:
                        self.first_lines = batch["payload"].slice(0, FIRST_LINES)
                    read += batch.num_rows
                    yield batch
            except LastaisleError as error:  # DuckDB would raise an error of its own instead
                failure = error
                raise

        load_references(self.connection, self.contract, lake)
        source_lines = pa.RecordBatchReader.from_batches(LINES, counted())
        self.connection.register("source_lines", source_lines)
        query = staged_sql(self.contract, adapter)
        try:
            self.connection.execute(LISTS_AS_WRITTEN)
            self._run(f"CREATE TABLE staged AS {query}", uses_now="$now" in query)
            self.connection.execute(ALL_OPTIMIZERS)
        except duckdb.Error as error:
            if failure is not None:
                raise failure  # noqa: B904 - the failure keeps its own cause
            if isinstance(error, _OF_THE_ROWS):
                raise SourceError(f"DuckDB cannot read the rows: {_without_values(error)}") from error
            raise
        self.connection.unregister("source_lines")
        make_repeated(self.connection)
        load_warning_references(self.connection, self.contract, lake)
        staged = self.count("staged WHERE _sub_row = 0")
        if staged != read:
            raise ReconciliationError(
                f"{read} lines were read but {staged} came out of the adapter {adapter.name}; "
                "nothing was committed"
            )

    def mark_repeated(
        self,
        known: ds.Dataset | None,
        batch_id: str,
        reach: timedelta | None = None,
        contents: Contents = ALL_CONTENTS,
    ) -> None:
        """Mark the sound rows whose id or unique key was read before, in the batch or in another batch.

        Args:
            known: the table as it is now, or None before its first row.
            batch_id: the id of this batch; rows that a killed run of this batch wrote do not count.
            reach: how many days before and after the days of these rows are searched; None for all days.
            contents: what is compared of two rows with one id.
        """
        make_repeated(self.connection)
        mark_inside(self.connection, self.contract, contents)
        near: set[date] = set()
        if reach is not None and known is not None:
            steps = range(-reach.days, reach.days + 1)
            days = self.days(f"staged WHERE {SOUND}")
            near = {day + timedelta(days=step) for day in days for step in steps}
        if known is not None:
            mark_known(self.connection, self.contract, known, batch_id, sorted(near), contents=contents)
        mark_unique_keys(self.connection, self.contract, known, batch_id)

    def days(self, source: str) -> list[date]:
        """Return the UTC days of the events in a FROM clause, oldest first."""
        rows = self.connection.execute(f"SELECT DISTINCT _event_date FROM {source} ORDER BY 1").fetchall()
        return [day for (day,) in rows]

    def count(self, source: str) -> int:
        """Count the rows of a FROM clause."""
        return int(self.connection.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0])

    def hours(self) -> tuple[str, ...]:
        """Return the UTC hours of the clean events, oldest first."""
        rows = self.connection.execute(
            f"SELECT DISTINCT epoch_us(occurred_at) // 3600000000 AS _hour FROM {CLEAN} ORDER BY 1"
        ).fetchall()
        return tuple(datetime.fromtimestamp(hour * 3600, UTC).strftime("%Y-%m-%dT%H") for (hour,) in rows)

    def newest(self) -> datetime | None:
        """Return the latest occurred_at of the clean rows."""
        table = self.connection.sql(f"SELECT max(occurred_at) AS newest FROM {CLEAN}").to_arrow_table()
        newest: datetime | None = table["newest"][0].as_py()
        return newest

    def count_fields(self) -> dict[str, int]:
        """Count readable rows (`rows`), rows with each field, and of a wrong type (`<field>_broken`)."""
        fields = self.contract.fields
        rules = ", ".join(literal(name) for name, _ in row_tests(self.contract))
        dropping = dropping_tests(self.contract)
        counts = ", ".join(count_values(field, dropping.get(field.name, ())) for field in fields)
        row = self.connection.execute(
            f"SELECT coalesce(count_if(_rules IS NULL OR list_has_any(_rules, [{rules}])), 0), {counts} "
            "FROM staged WHERE _ignored IS NULL"
        ).fetchall()[0]
        broken = self.count_by_rule() | self._count_left_out("staged WHERE _ignored IS NULL")
        present = dict(zip((field.name for field in fields), row[1:], strict=True))
        wrong = {field.name: broken[field.type_rule] for field in fields if field.type_rule in broken}
        return {
            "rows": row[0],
            **{name: count + wrong.get(name, 0) for name, count in present.items()},
            **{f"{name}_broken": count for name, count in wrong.items()},
        }

    def name_taken(self, batch_id: str) -> None:
        """Make the view `taken`: the clean rows as raw_events stores them, for anonymization."""
        columns = ", ".join(self.names)
        clean = self._clean_sql(
            f"staged.rowid AS _place, {columns}, _source_row AS source_row, _sub_row AS sub_row, "
            f"_event_date AS event_date, "
            f"{literal(batch_id)} AS batch_id, {literal(self.contract.version)} AS contract_version"
        )
        self._run(f"CREATE VIEW taken AS {clean}")

    def count_late(self, allowed: timedelta, watermark: datetime | None) -> int:
        """Count the clean rows received later than allowed.

        Args:
            allowed: the longest time between an event and its receipt.
            watermark: if the time of receipt is unknown, events before this time count as late; None before
                the first batch of the source.
        """
        tests = []
        stamped = "received_at" in {field.name for field in self.contract.fields}
        if stamped:
            tests.append(f"epoch_us(received_at) - epoch_us(occurred_at) > {allowed // _MICROSECOND}")
        if watermark is not None:
            older = f"occurred_at < TIMESTAMPTZ '{watermark.astimezone(UTC).isoformat()}'"
            tests.append(f"(received_at IS NULL AND {older})" if stamped else older)
        if not tests:
            return 0
        return self.count(f"({self._clean_sql('*')}) WHERE {' OR '.join(tests)}")

    def count_by_rule(self) -> dict[str, int]:
        """Count the quarantined rows by the rules that they broke, the most frequent rule first."""
        rows = self.connection.execute(
            """SELECT _rule, count(*) FROM (
                 SELECT unnest(_rules) AS _rule FROM staged WHERE _rules IS NOT NULL
                 UNION ALL SELECT _rule FROM repeated WHERE _rule IS NOT NULL)
               GROUP BY _rule ORDER BY count(*) DESC, _rule"""
        ).fetchall()
        return {str(rule): int(count) for rule, count in rows}

    def count_ignored(self) -> dict[str, int]:
        """Count the rows of no interest by their reasons, the most frequent reason first."""
        rows = self.connection.execute(
            f"""SELECT left(_ignored, {REASON_CHARACTERS}) AS _reason, count(*) FROM staged
                WHERE _ignored IS NOT NULL GROUP BY ALL ORDER BY count(*) DESC, _reason"""
        ).fetchall()
        return fold_reasons({str(reason): int(count) for reason, count in rows})

    def count_warnings(self) -> dict[str, int]:
        """Count the clean rows that broke a rule of severity warning, or that lost a value by a rule."""
        counts = self._count_left_out(CLEAN)
        for rule in (rule for rule in self.contract.rules if rule.severity == "warning"):
            query = f"SELECT count(*) FROM ({self._clean_sql('*')}) WHERE ({rule.predicate}) IS FALSE"
            counts[rule.name] = int(self._run(query, uses_now=rule.uses_now).fetchall()[0][0])
        return {name: count for name, count in counts.items() if count}

    def clean_rows(
        self,
        batch_id: str,
        source_file: str,
        values: Mapping[str, str] | None = None,
    ) -> Query:
        """Return the rows for the table.

        Args:
            batch_id: the id of the batch.
            source_file: the address of the rows.
            values: SQL of fields that the table holds in another form.
        """
        schema = pa.schema([*self.contract.arrow_schema(), *INGESTION_ADDED])
        made = {
            "batch_id": "$batch_id",
            "source_file": "$source_file",
            "source_row": "_source_row",
            "sub_row": "_sub_row",
            "ingested_at": "$now::TIMESTAMPTZ",
            "contract_version": "$version",
            "event_date": "_event_date",
        } | dict(values or {})
        columns = (f"{made.get(name, quote(name))} AS {quote(name)}" for name in schema.names)
        sql = self._clean_sql(", ".join(columns))
        parameters = {
            "batch_id": batch_id,
            "source_file": source_file,
            "now": self.now.isoformat(),
            "version": self.contract.version,
        }
        return Query(self.connection, sql, schema, self.days(CLEAN), parameters)

    def quarantined_rows(self, batch_id: str, source_file: str) -> pa.RecordBatchReader:
        """Return the rows for quarantine."""
        query = """SELECT $batch_id AS batch_id, $source_file AS source_file,
              _source_row AS source_row, _sub_row AS sub_row, _payload AS payload, _rules AS rules,
              $now::TIMESTAMPTZ AS ingested_at, $version AS contract_version,
              ($now::TIMESTAMPTZ::TIMESTAMP)::DATE AS event_date
            FROM staged WHERE _rules IS NOT NULL"""
        return self._reader(query, batch_id, source_file, QUARANTINE_SCHEMA)

    def reused_rows(self, batch_id: str, source_file: str) -> pa.RecordBatchReader:
        """Return the rows of `repeated` for quarantine; the payload is the row itself, as canonical JSON."""
        query = f"""SELECT $batch_id AS batch_id, $source_file AS source_file,
              _source_row AS source_row, _sub_row AS sub_row,
              {self.canonical_json()} AS payload,
              [_rule] AS rules, $now::TIMESTAMPTZ AS ingested_at, $version AS contract_version,
              ($now::TIMESTAMPTZ::TIMESTAMP)::DATE AS event_date
            FROM staged JOIN repeated ON repeated._place = staged.rowid WHERE _rule IS NOT NULL"""
        return self._reader(query, batch_id, source_file, QUARANTINE_SCHEMA)

    def canonical_json(self) -> str:
        """Return SQL of a staged row without its absent fields, as canonical JSON."""
        members = ", ".join(
            f"{literal(field.name)}: staged.{quote(field.name)}" for field in self.contract.fields
        )
        payload = f"json_merge_patch('{{}}', to_json({{{members}}}))::VARCHAR"
        return f"left({payload}, {PAYLOAD_CHARACTERS})"

    def sample(self, rows: int) -> pa.Table:
        """Return some clean and broken rows with their `_rules`; all of their fields have the right type."""
        columns = ", ".join(self.names)
        known = ", ".join(literal(rule.name) for rule in self.contract.rules)
        return self.connection.sql(f"""
            SELECT {columns}, _rules FROM staged WHERE {SOUND} OR list_has_all([{known}], _rules)
            ORDER BY hash(_source_row, _sub_row) LIMIT {rows}""").to_arrow_table()

    def reference(self, name: str) -> list[Any]:
        """Return the values that a reference rule allows, by `table.column`."""
        rows = self.connection.execute(f"SELECT {ALLOWED} FROM {quote(name)}").fetchall()
        return [value for (value,) in rows]

    def _reader(self, query: str, batch_id: str, source_file: str, schema: pa.Schema) -> pa.RecordBatchReader:
        parameters = {
            "batch_id": batch_id,
            "source_file": source_file,
            "now": self.now.isoformat(),
            "version": self.contract.version,
        }
        used = {name: value for name, value in parameters.items() if f"${name}" in query}
        rows = self.connection.cursor().sql(query, params=used).to_arrow_reader(65_536)
        return rows.cast(schema)

    def _count_left_out(self, source: str) -> dict[str, int]:
        """Count the values that a FROM clause left out, by the rule that they broke."""
        rows = self.connection.execute(
            f"""SELECT rule, count(*) FROM (SELECT unnest(_warnings) AS rule FROM {source})
                GROUP BY rule ORDER BY count(*) DESC, rule"""
        ).fetchall()
        return {str(rule): int(count) for rule, count in rows}

    def _clean_sql(self, columns: str) -> str:
        return f"SELECT {columns} FROM {CLEAN}"

    def _run(self, query: str, *, uses_now: bool = False) -> duckdb.DuckDBPyConnection:
        return self.connection.execute(query, {"now": self.now.isoformat()} if uses_now else None)
