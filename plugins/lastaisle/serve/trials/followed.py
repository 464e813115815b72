"""The table `traffic` as a service follows it, in memory and on the disk of its machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lastaisle.experiments.traffic import RUNNING, TrafficLog, TrafficMove, read_traffic
from lastaisle.lake.table_state import file_of, find_state
from lastaisle.lake.tables import TRAFFIC
from lastaisle.lake.whole_file import whole_file
from lastaisle.serve.trials.ready import problem_of

if TYPE_CHECKING:
    from lastaisle.lake.reader import LakeReader


@dataclass(frozen=True)
class KnownTraffic:
    """The newest moves of each trial, and the state of the table that they were read from.

    Attributes:
        table_id: the id that Delta Lake gave to the table when it was made.
        log: the newest move of each trial.
    """

    table_id: str
    log: TrafficLog


class TrafficFile:
    """A file that keeps the trials, so that a service starts while the lake is away.

    Args:
        folder: the folder of the file. Several services may share it.
        lake_url: the lake. Each lake has a file of its own.
    """

    def __init__(self, folder: Path, lake_url: str) -> None:
        self.path = file_of(folder, "traffic", lake_url, ".json")

    def load(self) -> KnownTraffic | None:
        """Return what was kept; None without a file.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is damaged, or another program wrote it.
        """
        if not self.path.exists():
            return None
        digest, _, content = self.path.read_bytes().partition(b"\n")
        if digest.decode("ascii", "replace") != _digest(content):
            raise ValueError("its content does not fit its digest")
        known = msgspec.json.decode(content, type=KnownTraffic)
        return KnownTraffic(known.table_id, _usable(known.log))

    def save(self, known: KnownTraffic) -> None:
        """Write the trials; readers see the old file or the new file.

        Raises:
            OSError: the file cannot be written.
        """
        content = msgspec.json.encode(known)
        with whole_file(self.path) as unfinished:
            unfinished.write_bytes(_digest(content).encode() + b"\n" + content)


def read_known(lake: LakeReader, known: KnownTraffic | None) -> KnownTraffic | None:
    """Return the trials as the lake has them now; `known` itself if the table has not changed.

    Args:
        lake: where the table is.
        known: what was read before.

    Returns:
        None if there is no table. A table that is older than what was read, as an object store may show it
        for a moment, counts as not changed.

    Raises:
        LakeUnusableError: the table is there, but it cannot be read.
    """
    state = find_state(lake, TRAFFIC)
    if state is None:
        return None
    if known is not None and known.table_id == state.table_id and known.log.version >= state.version:
        return known
    return KnownTraffic(state.table_id, _usable(read_traffic(lake)))


def _usable(log: TrafficLog) -> TrafficLog:
    """Return the newest move of each trial; where a service cannot run it, the newest that it can run."""
    by_trial: dict[str, list[TrafficMove]] = {}
    for move in log.moves:
        by_trial.setdefault(move.trial.name, []).append(move)
    usable: list[TrafficMove] = []
    problems: list[str] = []
    for name, moves in by_trial.items():
        for move in reversed(moves):
            problem = problem_of(move.trial) if move.state == RUNNING else ""
            if not problem:
                usable.append(move)
                break
            if move is moves[-1]:
                problems.append(f"the newest row of the trial {name} does not count: {problem}")
    return TrafficLog(log.version, tuple(usable), problems=(*log.problems, *problems))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
