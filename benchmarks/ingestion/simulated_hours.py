"""Hours of a simulated day: one file an hour, and their ingestion."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.simulate import ShopOptions, simulate

BUSIEST_HOUR = 16  # of the simulated day
SHARE_OF_BUSIEST_HOUR = 0.083  # of the rows of a day
ROWS_A_SESSION = 5.0


def write_hours(folder: Path, events: int, hours: int) -> dict[str, Path]:
    """Write the busiest hour of a simulated day, and the hours before it, as one file an hour.

    Args:
        folder: the folder for the files.
        events: number of rows of the busiest hour; the other hours have at most this many.
        hours: number of hours before the busiest one.

    Returns:
        partition key to file, oldest first.
    """
    sessions = round(1.25 * events / SHARE_OF_BUSIEST_HOUR / ROWS_A_SESSION)
    (day,) = simulate(ShopOptions(days=1, sessions_per_day=sessions))
    keys = [f"{day.day.isoformat()}T{hour:02}" for hour in range(BUSIEST_HOUR - hours, BUSIEST_HOUR + 1)]
    lines_of: dict[str, list[str]] = {key: [] for key in keys}
    for line in day.lines:
        start = line.find('"occurred_at":"') + 15
        if line[start : start + 13] in lines_of:
            lines_of[line[start : start + 13]].append(line)
    files = {}
    for key, lines in lines_of.items():
        files[key] = folder / f"{key}.jsonl"
        files[key].write_text("".join(f"{line}\n" for line in lines[:events]))
    rows = len(lines_of[keys[-1]])
    assert rows >= events, f"the busiest hour has only {rows:,} rows of {events:,}"
    return files


def ingest_hours(files: Mapping[str, Path], lake: Lake, keys: PseudonymKeys) -> list[datetime]:
    """Ingest the files at the end of their hours; return the starts of the hours."""
    starts = [datetime.fromisoformat(f"{key}:00:00+00:00") for key in files]
    for start, file in zip(starts, files.values(), strict=True):
        ingest(str(file), "canonical", lake, keys, now=start + timedelta(hours=1))
    return starts
