"""Metrics of trainings, of the gate and of the champion, from the tables and from MLflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from lastaisle.lake.tables import RELEASES
from lastaisle.lake.tables import TRAINING_RUNS as RUNS_TABLE
from lastaisle.monitor.metrics.families import (
    CHAMPION,
    CHAMPION_LEARNED,
    CHAMPION_RECALL,
    CHAMPION_SINCE,
    GATE_DECISIONS,
    GATE_REFUSALS,
    RELEASE_MOVES,
    TRAINING_FAILURE,
    TRAINING_OLDEST,
    TRAINING_RUNS,
    TRAINING_SECONDS,
    TRAINING_SESSIONS,
    TRAINING_SUCCESS,
    TRAINING_UNFINISHED,
    Sample,
)
from lastaisle.registry.lease import is_alive
from lastaisle.registry.ledger import (
    DECISIONS,
    LOST,
    REFUSE,
    REGISTER,
    ROLLBACK,
    Ledger,
    Move,
    origin_of,
    standing,
)
from lastaisle.registry.run import RUNNING
from lastaisle.registry.runs import metric_name
from lastaisle.release.fate import served_times

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.lake.reader import LakeReader
    from lastaisle.registry.registry import Registry
    from lastaisle.registry.run import Run

TRAINING_READS: Final = (RUNS_TABLE,)
GATE_READS: Final = (RELEASES, RUNS_TABLE)
_STATES: Final = ("running", "dead", "failed")
RECALL: Final = metric_name("recall@20")


def read_trainings(lake: LakeReader, model_name: str) -> Iterator[Sample]:
    """Yield the metrics of the trainings that ended well, by kind."""
    columns = ["kind", "finished_at", "train_seconds", "sessions"]
    rows = lake.scan(RUNS_TABLE, columns, pc.field("model_name") == model_name).to_pylist()
    for kind, count in Counter(row["kind"] for row in rows).items():
        last = max((row for row in rows if row["kind"] == kind), key=lambda row: row["finished_at"])
        yield Sample(TRAINING_RUNS, count, (kind,))
        yield Sample(TRAINING_SUCCESS, last["finished_at"].timestamp(), (kind,))
        yield Sample(TRAINING_SECONDS, last["train_seconds"], (kind,))
        yield Sample(TRAINING_SESSIONS, last["sessions"], (kind,))


def read_gate(lake: Lake, model_name: str) -> Iterator[Sample]:
    """Yield the metrics of the ledger: decisions, moves and the champion."""
    moves = Ledger(lake, model_name).moves()
    actions = Counter(move.action for move in moves)
    for verdict in DECISIONS:  # also those that never were: an alert waits for the first one
        yield Sample(GATE_DECISIONS, actions[verdict], (verdict,))
    for action in dict.fromkeys((REGISTER, ROLLBACK, LOST, *actions)):
        yield Sample(RELEASE_MOVES, actions[action], (action,))
    decisions = [move.action for move in moves if move.action in DECISIONS]
    refusals = takewhile(lambda action: action == REFUSE, reversed(decisions))
    yield Sample(GATE_REFUSALS, len(list(refusals)))
    champion = standing(moves).champion
    if champion is not None:
        yield Sample(CHAMPION, 1, (champion,))
        yield Sample(CHAMPION_SINCE, served_times(moves)[-1].since.timestamp())
        learned = _learned_until(lake, origin_of(moves, champion))
        if learned is not None:
            yield Sample(CHAMPION_LEARNED, learned.timestamp())


def _learned_until(lake: LakeReader, origin: Move | None) -> datetime | None:
    """Return the end of the window of a version's training; None if the table does not know the training."""
    if origin is None:
        return None
    rows: list[dict[str, Any]] = lake.scan(
        RUNS_TABLE, ["window_end"], pc.field("run_id") == origin.run_id
    ).to_pylist()
    return max((row["window_end"] for row in rows), default=None)


def read_runs(lake: Lake, registry: Registry, model_name: str) -> Iterator[Sample]:
    """Yield what MLflow alone knows: the runs that did not end well, and the champion's recall@20."""
    unfinished = registry.unfinished_runs()
    states = {state: [run for run in unfinished if _state_of(run) == state] for state in _STATES}
    for state, runs in states.items():
        yield Sample(TRAINING_UNFINISHED, len(runs), (state,))
    if states["running"]:
        yield Sample(TRAINING_OLDEST, min(run.started for run in states["running"]) / 1000)
    if broken := [*states["dead"], *states["failed"]]:
        yield Sample(TRAINING_FAILURE, max(run.started for run in broken) / 1000)
    moves = Ledger(lake, model_name).moves()
    origin = origin_of(moves, standing(moves).champion or "")
    if origin is not None:
        recall = registry.metrics(origin.run_id).get(RECALL)
        if recall is not None:
            yield Sample(CHAMPION_RECALL, recall)


def _state_of(run: Run) -> str:
    if run.status != RUNNING:
        return "failed"
    return "running" if is_alive(run.tags) else "dead"
