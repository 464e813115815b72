"""The steps of a batch's way into the tables, and a hold at which a process stops when it gets to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: In the order in which a batch meets them. "file ½": half of the bytes of a Parquet file are on disk;
#: "file": all are, and no commit names it yet; a table's own name: its commit has just happened.
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
    """Calls `act` when a boundary is met for the `turn`-th time.

    Attributes:
        boundary: one of BOUNDARIES.
        turn: counted from 1.
        act: what happens there.
        met: how often it was met.
    """

    boundary: str
    turn: int
    act: Callable[[], None]
    met: int = 0

    def meet(self, name: str) -> bool:
        """Act if it is the boundary's turn, and tell whether it was."""
        self.met += name == self.boundary
        is_turn = name == self.boundary and self.met == self.turn
        if is_turn:
            self.act()
        return is_turn

    def install(self) -> None:
        """Put the hold into this process, which is used for nothing else afterwards."""
        from lastaisle.ingest import batch
        from lastaisle.ingest.kafka import drain
        from lastaisle.ingest.staging import Staging
        from lastaisle.lake import Lake, Query

        def lines_read(load: Callable[..., Any], staging: Any, lines: Iterator[Any], *rest: Any) -> Any:
            return load(staging, self._after_first(lines), *rest)

        def written(write: Callable[..., Any], query: Any, folder: Any) -> Any:
            actions = write(query, folder)
            self.meet(f"{_short(Path(folder.url).name)} file")
            return actions

        _around(Staging, "load", lines_read)
        _after(batch, "_judge", lambda *_: self.meet("judged"))
        _after(drain, "send_dead_letters", lambda *_: self.meet("dead letters"))
        _after(Lake, "_write", lambda _, name, *__: self.meet(name))
        _around(Query, "write", written)
        _around(Query, "_copy", self._copied)

    def _after_first(self, lines: Iterator[Any]) -> Iterator[Any]:
        for number, batch in enumerate(lines):
            yield batch
            if number == 0:
                self.meet("reading")

    def _copied(self, copy: Callable[..., Any], query: Any, path: Path, *rest: Any) -> Any:
        told = copy(query, path, *rest)
        name = f"{_short(path.parent.parent.name)} file ½"
        whole = path.read_bytes()
        if name == self.boundary and self.met + 1 == self.turn:
            path.write_bytes(whole[: len(whole) // 2])
        if self.meet(name):
            path.write_bytes(whole)
        return told


def _short(table: str) -> str:
    return {"raw_events": "raw"}.get(table, table)


def _around(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **options: wrapper(original, *args, **options))


def _after(owner: Any, name: str, told: Callable[..., Any]) -> None:
    def call(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
        result = original(*args, **options)
        told(*args)
        return result

    _around(owner, name, call)
