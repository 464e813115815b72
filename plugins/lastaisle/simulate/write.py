"""Write the simulated logs to a folder, as a shop would deliver them: one folder a day."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from lastaisle.simulate.options import ShopOptions
from lastaisle.simulate.shop import DayOfLogs, Truth, simulate


@dataclass(frozen=True)
class SimulationReport:
    """The report of the written logs.

    Attributes:
        directory: the folder of the logs.
        days: the truth about each day, in order of time.
        files: the files written, one a day.
        bytes: size of the files.
        seconds: time that the simulation and the writing took.
        simulated: always true, so that nobody takes the report for the report of a real shop.
    """

    directory: str
    days: dict[date, Truth]
    files: tuple[str, ...]
    bytes: int
    seconds: float
    simulated: bool = True

    def total(self, name: str) -> int:
        """Add up one count of the truth over the days; `broken` is added up over its kinds too."""
        values = [getattr(truth, name) for truth in self.days.values()]
        return sum(sum(value.values()) if isinstance(value, dict) else value for value in values)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        totals = {
            name: self.total(name) for name in ("rows", "clean", "duplicates", "late", "broken", "sessions")
        }
        return {
            "simulated": self.simulated,
            "directory": self.directory,
            "files": list(self.files),
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            **totals,
            "days": {day.isoformat(): asdict(truth) for day, truth in self.days.items()},
        }


def day_file(directory: Path | str, day: date) -> Path:
    """Return the file of a day's logs."""
    return Path(directory) / day.isoformat() / "simulated-part-0.jsonl"


def write_logs(
    directory: Path | str,
    options: ShopOptions,
    progress: Callable[[date, Truth], None] | None = None,
    *,
    catalogue: Path | str | None = None,
) -> SimulationReport:
    """Write the logs of a simulated shop, one folder a day, each file whole or not at all.

    Args:
        directory: the folder to write to; made if it is missing. The files of its days are written anew.
        options: the options of the shop.
        progress: function to call after each written day.
        catalogue: the file of the catalogue's history, which is written anew; None writes none.
    """
    return write_days(directory, simulate(options), progress, catalogue=catalogue)


def write_days(
    directory: Path | str,
    logs_of_days: Iterable[DayOfLogs],
    progress: Callable[[date, Truth], None] | None = None,
    *,
    catalogue: Path | str | None = None,
) -> SimulationReport:
    """Write the logs of days as `write_logs` does, each day when it comes."""
    started = time.perf_counter()
    items: list[str] = []
    days: dict[date, Truth] = {}
    files: list[str] = []
    size = 0
    for logs in logs_of_days:
        path = day_file(directory, logs.day)
        size += write_whole(path, logs.lines)
        days[logs.day] = logs.truth
        files.append(str(path))
        items += logs.items
        if progress is not None:
            progress(logs.day, logs.truth)
    if catalogue is not None:
        write_whole(Path(catalogue), items)
    return SimulationReport(str(directory), days, tuple(files), size, time.perf_counter() - started)


def write_whole(path: Path, lines: Sequence[str]) -> int:
    """Write the lines of a file, whole or not at all; return their bytes.

    A device or a pipe, such as /dev/null, is written as it is: a rename would put a file in its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"{line}\n" for line in lines).encode()
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return len(content)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
    return len(content)
