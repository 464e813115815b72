"""Take text of rows out of a table's log: old entries and checkpoints hold the smallest and largest texts.

Entries are written again without these texts, and none is deleted: another writer that began before would
take the place of a deleted entry, and its rows would be lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from lastaisle.lake.errors import clear_errors
from lastaisle.lake.folder import TableFolder
from lastaisle.lake.lake import Lake
from lastaisle.lake.rewritten import live_files

_LOG: Final = "_delta_log/"
_ENTRY: Final = re.compile(r"_delta_log/(\d{20})(\.\d{20}\.compacted)?\.json")
_CHECKPOINT: Final = re.compile(r"_delta_log/(\d{20})\.checkpoint.*\.(parquet|json)")


@dataclass(frozen=True)
class LogCleaned:
    """What was taken out of the log of a table.

    Attributes:
        entries: entries that were written again without the texts of files that are no part of the table.
        checkpoints: older checkpoints that were deleted; a new one has their keys.
    """

    entries: int = 0
    checkpoints: int = 0


def clean_log(lake: Lake, name: str) -> LogCleaned:
    """Write a checkpoint, delete older checkpoints, and take the texts of replaced files out of the log.

    The keys of appends and the numbers of all versions stay. The statistics of files that are part of the
    table stay too, since they say no more than these files.
    """
    table, folder = lake.table(name), lake.folder(name)
    if table is None:
        return LogCleaned()
    with clear_errors(f"clean the log of table {name}", lake.url):
        at, live, files = int(table.version()), live_files(table).keys(), folder.files()
        if not any(_version(_CHECKPOINT, file) == at for file in files):
            table.create_checkpoint()
        old = [file for file in files if _version(_CHECKPOINT, file, before=at) is not None]
        with suppress(FileNotFoundError):  # another process cleans the log, too
            folder.discard(old)
        entries = [file for file in files if _version(_ENTRY, file, before=at + 1) is not None]
        return LogCleaned(sum(_clean_entry(folder, file, live) for file in entries), len(old))


def _version(pattern: re.Pattern[str], file: str, before: int | None = None) -> int | None:
    match = pattern.fullmatch(file)
    version = int(match[1]) if match else None
    return version if version is not None and (before is None or version < before) else None


def _clean_entry(folder: TableFolder, file: str, live: Collection[str]) -> bool:
    """Write an entry again without the texts of replaced files; tell whether it had any."""
    try:
        lines = folder.read(file).decode().splitlines()
    except FileNotFoundError:  # the log is cleaned by age meanwhile
        return False
    cleaned = [_clean_line(line, live) for line in lines]
    if cleaned == lines:
        return False
    folder.replace(file, "".join(f"{line}\n" for line in cleaned).encode())
    return True


def _clean_line(line: str, live: Collection[str]) -> str:
    entry: dict[str, Any] = json.loads(line) if '"stats"' in line else {}
    for action in (entry.get("add"), entry.get("remove")):
        if not action or not action.get("stats") or action["path"] in live:
            continue
        statistics = json.loads(action["stats"])
        texts = False
        for side in ("minValues", "maxValues"):
            bounds = statistics.get(side) or {}
            kept = {column: bound for column, bound in bounds.items() if _is_no_text(bound)}
            texts, statistics[side] = texts or kept != bounds, kept
        if texts:
            action["stats"] = json.dumps(statistics, separators=(",", ":"))
            line = json.dumps(entry, separators=(",", ":"))
    return line


def _is_no_text(bound: object) -> bool:
    return not isinstance(bound, str | dict) or bool(
        isinstance(bound, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}(T[0-9:.]+Z)?", bound)
    )
