"""Write logs as ingestion expects them: one folder for each day, with unchanged raw lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lastaisle.errors import SourceError
from lastaisle.lake.workspace import open_tables

if TYPE_CHECKING:
    import pyarrow as pa

    from lastaisle.ingest.reading.files import SourceFile
    from lastaisle.ingest.sources import Adapter

# Functions import the pipeline inside: the demo starts Airflow before it loads pyarrow and DuckDB.

MANIFEST = "_landed.json"  # written last: without this file the folders are incomplete, and are written again


def days_landed(landing: Path, source: str, name: str) -> list[date] | None:
    """Return the days of these logs, oldest first; None if the logs are not in the folder yet.

    Raises:
        SourceError: the folder holds other logs.
    """
    manifest = landing / MANIFEST
    if not manifest.exists():
        return None
    landed = json.loads(manifest.read_text(encoding="utf-8"))
    if (landed["source"], landed["format"]) != (source, name):
        raise SourceError(
            f"{landing} holds the logs of {landed['source']} ({landed['format']}), not of {source} ({name}): "
            "choose another LASTAISLE_HOME for these logs, or remove that folder (make clean)"
        )
    return [date.fromisoformat(day) for day in landed["days"]]


def note_landed(landing: Path, source: str, name: str, days: list[date]) -> None:
    """Record that the folder holds all days of these logs."""
    content = {"source": source, "format": name, "days": [day.isoformat() for day in days]}
    (landing / MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")


def split_by_day(source: str, name: str, landing: Path) -> list[date]:
    """Split logs into one folder for each day (UTC), by the time that the format's adapter reads.

    Lines keep their text and their order, and each file keeps its header. A line without a readable time goes
    to the day of the line before it, so that ingestion reports what is wrong with the line.

    Args:
        source: a file, a folder or a URL.
        name: the format, one of lastaisle.ingest.sources.ADAPTERS.
        landing: folder for the days' folders.

    Returns:
        The days, oldest first.

    Raises:
        SourceError: no line has a readable time.
    """
    from lastaisle.ingest.listing import find_files
    from lastaisle.ingest.records import read_records
    from lastaisle.ingest.sources import adapter

    days: set[date] = set()
    for number, file in enumerate(find_files([source]).files):
        form, records = read_records(file, adapter(name))
        header = form.layout.header if form.layout else None
        with ExitStack() as stack:
            outputs: dict[date, IO[str]] = {}
            for day, lines in _dated_lines(form, records):
                if day not in outputs:
                    path = landing / day.isoformat() / f"part-{number}{_suffix(file)}"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    outputs[day] = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
                    outputs[day].write("" if header is None else _with_line_end(header))
                outputs[day].writelines(lines)
        days.update(outputs)
    if not days:
        raise SourceError(f"no line of {source} has a time that the format {name!r} can read")
    return sorted(days)


def _dated_lines(form: Adapter, records: Iterator[pa.RecordBatch]) -> Iterator[tuple[date, list[str]]]:
    """Yield the days of a file with their lines; adjacent lines of one day come together."""
    from data_contracts.contract import load_contract

    rows = form.select(load_contract("raw_events"), "batch")
    day_of_row = "SELECT _source_row, min(TRY_CAST(occurred_at AS TIMESTAMPTZ))::DATE"
    query = f"{day_of_row} FROM ({rows}) GROUP BY _source_row ORDER BY _source_row"
    waiting: list[str] = []  # lines before the first line with a time
    current: date | None = None
    with open_tables() as connection:
        for batch in records:
            days = dict(connection.register("batch", _table(batch)).execute(query).fetchall())
            runs: list[tuple[date, list[str]]] = []
            for row, line in zip(batch["source_row"].to_pylist(), batch["payload"].to_pylist(), strict=True):
                day = days.get(row) or current
                if day is None:
                    waiting.append(_with_line_end(line))
                    continue
                if not runs or day != current:
                    runs.append((day, waiting))
                    waiting = []
                runs[-1][1].append(_with_line_end(line))
                current = day
            yield from runs


def _table(batch: pa.RecordBatch) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches([batch])


def _with_line_end(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n"


def _suffix(file: SourceFile) -> str:
    """Return the suffix of the name without .gz, .parquet or the like: the split files are plain text."""
    return Path(re.sub(r"\.(gz|bz2|xz|zst|parquet)$", "", file.url)).suffix or ".log"
