"""Guess the format of logs from their first lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from data_contracts.contract import load_contract
from lastaisle.ingest.reading.lines import LINES
from lastaisle.ingest.sources import ADAPTERS, Adapter, adapter
from lastaisle.ingest.sources.columns import HeaderError
from lastaisle.ingest.sources.layout import fitted
from lastaisle.ingest.staging.staging_sql import staged_sql
from lastaisle.lake.tables import RAW_EVENTS
from lastaisle.lake.workspace import open_tables

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Returns the format that some lines look like, and a sentence about it; see `guess_log_format`.
Guess: TypeAlias = Callable[[Sequence[str], str], tuple[str | None, str]]
TRIED_LINES = 200
_ENOUGH = 0.5


def guess_format(lines: Sequence[str]) -> str | None:
    """Return the packaged format under which most of the lines become sound rows.

    Args:
        lines: the first lines of a file, with a header if it has one; the rows of a Parquet file as JSON.

    Returns:
        The name of the format; None if no format reads at least half of the lines.
    """
    tried = [line for line in lines if line.strip()][:TRIED_LINES]
    if not tried:
        return None
    best, best_share = None, 0.0
    with open_tables() as connection:
        for name in ADAPTERS:
            share = _sound_share(adapter(name), tried, connection)
            if share > best_share:
                best, best_share = name, share
            if share == 1:  # no later format reads more
                break
    return best if best_share >= _ENOUGH else None


def advice(guessed: str | None, tried: str) -> str:
    """Return a sentence that names the format that the first lines look like.

    Args:
        guessed: from `guess_format`.
        tried: the format that does not read the lines.
    """
    if guessed is None:
        return (
            "The first lines look like no format known here: write a mapping, which "
            "lastaisle ingest --guess FILE begins"
        )
    if guessed == tried:
        return f"The first lines look like {tried}, so look at what is wrong after them"
    return f"The first lines look like {guessed}: use --format {guessed} (LASTAISLE_SOURCE_FORMAT for DAGs)"


def guess_log_format(lines: Sequence[str], tried: str) -> tuple[str | None, str]:
    """Return the format of logs that the lines look like, and a sentence about it for the user."""
    guessed = guess_format(lines)
    return guessed, advice(guessed, tried)


def _sound_share(form: Adapter, lines: Sequence[str], connection: DuckDBPyConnection) -> float:
    """Return the share of the lines that a format reads as sound rows; 0 if none is of interest."""
    try:
        form = fitted(form, lines)
    except HeaderError:
        return 0.0
    rows = lines[1:] if form.layout is not None and form.layout.header is not None else lines
    columns = [list(range(1, len(rows) + 1)), list(rows), [None] * len(rows)]
    connection.register("source_lines", pa.Table.from_arrays(columns, schema=LINES))
    contract = load_contract(RAW_EVENTS)
    if not connection.execute(f"SELECT 1 FROM ({form.usable(contract)}) LIMIT 1").fetchall():
        return 0.0  # DuckDB needs most of the time to plan the rules
    query = staged_sql(contract, form)
    counted = f"""SELECT count_if(_rules IS NULL AND _ignored IS NULL), count_if(_rules IS NULL), count(*)
        FROM ({query})"""
    now = {"now": datetime.now(UTC).isoformat()} if "$now" in query else None
    clean, sound, every = connection.execute(counted, now).fetchall()[0]
    return float(sound / every) if clean else 0.0
