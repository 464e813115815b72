"""The steps of a batch on its way into the tables, and a hold that stops a process at one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The steps in their order. "file ½": half of the bytes of a Parquet file are on disk. "file": all bytes are
#: on disk, and no commit names the file yet. A table's name: the table's commit has just happened.
BOUNDARIES = (
    "reading",
    "judged",
    "dead letters",
    "quarantine",
    "raw file ½",
    "raw file",
    "raw_events",
    "batches",
    "events file ½",
    "events file",
    "events",
)
OF_FILES = tuple(name for name in BOUNDARIES if name != "dead letters")
OF_SHARDS = tuple(name for name in BOUNDARIES if name.startswith("events"))


@dataclass
class Hold:
    """Call `act` when the process reaches a boundary for the `turn`-th time.

    Attributes:
        boundary: one of BOUNDARIES.
        turn: number of the arrival at which `act` is called, from 1.
        act: function to call at the boundary.
        arrivals: how often the boundary was reached.
    """

    boundary: str
    turn: int
    act: Callable[[], None]
    arrivals: int = 0

    def arrive(self, name: str) -> bool:
        """Count an arrival at a boundary; call `act` at the right one, and return whether it was."""
        self.arrivals += name == self.boundary
        is_turn = name == self.boundary and self.arrivals == self.turn
        if is_turn:
            self.act()
        return is_turn

    def install(self) -> None:
        """Install the hold in this process, which must not be used for other tests afterwards."""
        from lastaisle.ingest.batch_steps import BatchSteps
        from lastaisle.ingest.kafka import drain
        from lastaisle.ingest.staging.staging import Staging
        from lastaisle.lake import Lake, Query

        def lines_read(load: Callable[..., Any], staging: Any, lines: Iterator[Any], *rest: Any) -> Any:
            return load(staging, self._after_first(lines), *rest)

        def written(write: Callable[..., Any], query: Any, folder: Any) -> Any:
            actions = write(query, folder)
            self.arrive(f"{_short(Path(folder.url).name)} file")
            return actions

        _around(Staging, "load", lines_read)
        _after(BatchSteps, "judge", lambda *_: self.arrive("judged"))
        _after(drain, "send_dead_letters", lambda *_: self.arrive("dead letters"))
        _after(Lake, "_write", lambda _, name, *__: self.arrive(name))
        _around(Query, "write", written)
        _around(Query, "_copy", self._copied)

    def _after_first(self, lines: Iterator[Any]) -> Iterator[Any]:
        for number, batch in enumerate(lines):
            yield batch
            if number == 0:
                self.arrive("reading")

    def _copied(self, copy: Callable[..., Any], query: Any, path: Path, *rest: Any) -> Any:
        result = copy(query, path, *rest)
        name = f"{_short(path.parent.parent.name)} file ½"
        content = path.read_bytes()
        if name == self.boundary and self.arrivals + 1 == self.turn:
            path.write_bytes(content[: len(content) // 2])
        if self.arrive(name):
            path.write_bytes(content)
        return result


def _short(table: str) -> str:
    return {"raw_events": "raw"}.get(table, table)


def _around(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **options: wrapper(original, *args, **options))


def _after(owner: Any, name: str, observer: Callable[..., Any]) -> None:
    def call(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
        result = original(*args, **options)
        observer(*args)
        return result

    _around(owner, name, call)
