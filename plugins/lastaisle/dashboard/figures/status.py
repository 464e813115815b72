"""The state of an installation in a few lines: tables, data, champion, decisions, trials, alerts, next steps.

Every part is read by itself. A part that cannot be read says why, and hides no other part. Only the lake is
read: MLflow may be away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import DeltaError

from lastaisle.dashboard.figures.moves import sentence
from lastaisle.dashboard.figures.today import Champion, find_arrivals, find_champion
from lastaisle.dashboard.shown import age, first_sentence
from lastaisle.dashboard.source import Source
from lastaisle.errors import LastaisleError
from lastaisle.experiments.traffic import read_traffic
from lastaisle.lake.inventory import Inventory, take_inventory
from lastaisle.lake.tables import EVENTS, TRAINING_RUNS
from lastaisle.monitor.alerts.log import read_alerts
from lastaisle.privacy.budget.budget import budget_of
from lastaisle.registry.ledger import DECISIONS, Ledger, Move
from lastaisle.telemetry.shown import one_line, utc, without_password

#: What reading a part may raise: a lake that is away, a damaged table, a row that is not as it was written.
UNREADABLE: Final = (
    *(LastaisleError, OSError, DeltaError, pa.ArrowException, duckdb.Error),
    *(KeyError, TypeError, ValueError),
)
OLD_DATA: Final = timedelta(days=2)
"""Data older than this is worth a hint: two days of logs did not come."""


@dataclass(frozen=True)
class Part:
    """One part of the state.

    Attributes:
        name: of the part.
        lines: what it says, in lines of text.
        data: the same for programs.
        problem: why it cannot be read; empty if it was read.
    """

    name: str
    lines: tuple[str, ...] = ()
    data: Any = None
    problem: str = ""


@dataclass(frozen=True)
class Status:
    """The state of an installation.

    Attributes:
        parts: its parts, in the order in which people ask.
        next_steps: what to do next; each names a command or a page.
    """

    parts: tuple[Part, ...]
    next_steps: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return as JSON takes it."""
        parts = {part.name: {"problem": part.problem} if part.problem else part.data for part in self.parts}
        return {**parts, "next": list(self.next_steps)}


class StatusReader:
    """Reads the state.

    Args:
        source: where the lake is.
        now: the present moment (UTC).
    """

    def __init__(self, source: Source, now: datetime) -> None:
        self.source, self.now = source, now

    def read(self) -> Status:
        """Read every part, and say what to do next."""
        parts = (
            self._part("lake", self._lake),
            self._part("data", self._data),
            self._part("champion", self._champion),
            self._part("last decision", self._decision),
            self._part("trials", self._trials),
            self._part("privacy budget", self._budget),
            self._part("alerts", self._alerts),
        )
        return Status(parts, tuple(self._next(parts)))

    def _part(self, name: str, read: Callable[[], tuple[list[str], Any]]) -> Part:
        """Read one part, or say why it cannot be read."""
        try:
            lines, data = read()
        except UNREADABLE as error:
            said = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
            return Part(name, problem=one_line(without_password(said)) or type(error).__name__)
        return Part(name, tuple(lines), data)

    @cached_property
    def _moves(self) -> tuple[Move, ...]:
        return Ledger(self.source.lake, self.source.settings.registry.model_name).moves()

    @cached_property
    def _inventory(self) -> Inventory:
        return take_inventory(self.source.lake)

    def _lake(self) -> tuple[list[str], Any]:
        found, url = self._inventory, without_password(self.source.lake.url)
        size = sum(table.bytes for table in found.tables)
        lines = [f"{url}: {len(found.tables)} tables, {size / 1e6:,.1f} MB"]
        lines += [f"the table {name} cannot be read: {why}" for name, why in found.problems.items()]
        data = {"url": url, "tables": len(found.tables), "bytes": size, "problems": dict(found.problems)}
        return lines, data

    def _data(self) -> tuple[list[str], Any]:
        arrivals = find_arrivals(self.source)
        lines = []
        for one in arrivals:
            newest = "no time" if one.newest is None else f"to {utc(one.newest)}, {self._ago(one.newest)}"
            arrived = "" if one.arrived is None else f"; taken in {self._ago(one.arrived)}"
            lines.append(f"{one.name.lower()} {newest}{arrived}")
        return lines or ["no data yet"], [dataclasses.asdict(one) for one in arrivals]

    def _champion(self) -> tuple[list[str], Any]:
        champion = find_champion(self._moves)
        if champion is None:
            return ["no version serves yet"], None
        line = f"version {champion.version} since {utc(champion.since)}, {self._ago(champion.since)}"
        learned = self._learned_until(champion)
        if learned is not None:
            line += f"; it has learned up to {utc(learned)}"
        return [line], {**dataclasses.asdict(champion), "learned_until": learned}

    def _learned_until(self, champion: Champion) -> datetime | None:
        rows = self.source.lake.scan(
            TRAINING_RUNS, ["window_end"], pc.field("run_id") == champion.run_id
        ).to_pylist()
        return rows[-1]["window_end"] if rows else None

    def _decision(self) -> tuple[list[str], Any]:
        made = next((move for move in reversed(self._moves) if move.action in DECISIONS), None)
        if made is None:
            return ["the gate has not decided yet"], None
        told = f"{utc(made.moved_at)}, by {made.actor}: {sentence(made)} {first_sentence(made.reason)}"
        named = ("moved_at", "actor", "action", "from_version", "to_version", "reason", "run_id")
        return [one_line(told)], {name: getattr(made, name) for name in named}

    def _trials(self) -> tuple[list[str], Any]:
        log = read_traffic(self.source.lake)
        running = log.running()
        lines = [f"{trial.kind} {one_line(trial.name)}, since {utc(trial.starts_at)}" for trial in running]
        lines += [f"the trial {one_line(name)} cannot be read" for name in sorted(log.damaged)]
        data = [{"name": trial.name, "kind": trial.kind, "starts_at": trial.starts_at} for trial in running]
        return lines or ["none runs"], {"running": data, "damaged": sorted(log.damaged)}

    def _budget(self) -> tuple[list[str], Any]:
        # PLD takes seconds after many trainings: `lastaisle privacy budget` asks it.
        budget = budget_of(self.source.lake, self.source.settings.privacy, self.now, with_pld=False)
        return [budget.words], budget.to_dict()

    def _alerts(self) -> tuple[list[str], Any]:
        log = read_alerts(self.source.lake)
        alerts = log.open(self.now)
        lines = [
            f"{alert.severity} {alert.rule}, since {utc(alert.since)}: {one_line(alert.summary)}"
            + ("" if alert.silenced_until is None else f" (silenced until {utc(alert.silenced_until)})")
            for alert in alerts
        ]
        data = [
            {
                **{name: getattr(alert, name) for name in ("id", "severity", "rule", "since", "summary")},
                "silenced_until": alert.silenced_until,
            }
            for alert in alerts
        ]
        return [*lines, *log.problems] or ["none is open"], {"open": data, "problems": list(log.problems)}

    def _next(self, parts: tuple[Part, ...]) -> Iterator[str]:
        """Say what to do next, the most pressing first."""
        by_name = {part.name: part for part in parts}
        broken = [part.name for part in parts if part.problem]
        if broken:
            yield f"mend what cannot be read: {', '.join(broken)}"
        if any(not alert["silenced_until"] for alert in (by_name["alerts"].data or {}).get("open", ())):
            yield "look at the open alerts: lastaisle alerts"
        if by_name["lake"].problem:
            return
        present = {table.table: table for table in self._inventory.tables}
        if EVENTS not in present and EVENTS not in self._inventory.problems:
            yield "ingest logs: lastaisle ingest --source LOGS --format FORMAT"
            return
        events = present.get(EVENTS)
        if events and events.newest and self.now - events.newest > OLD_DATA:
            yield f"ingest newer logs: the newest event came {self._ago(events.newest)} (lastaisle ingest)"
        if not by_name["last decision"].problem and not by_name["champion"].problem:
            yield from self._to_release(has_champion=by_name["champion"].data is not None)

    def _to_release(self, *, has_champion: bool) -> Iterator[str]:
        """Name the training that waits for the gate, or ask for the first training."""
        rows = self.source.lake.scan(TRAINING_RUNS, ["run_id", "finished_at"]).to_pylist()
        decided = {move.run_id for move in self._moves if move.action in DECISIONS}
        newest = max(rows, key=lambda row: row["finished_at"], default=None)
        if newest is None:
            yield "train the first candidate: lastaisle train"
        elif newest["run_id"] not in decided:
            run_id = newest["run_id"]
            yield f"evaluate the newest training: lastaisle evaluate --run-id {run_id}"
            yield f"then ask the gate: lastaisle release --run-id {run_id}"
        elif not has_champion:
            yield "no version serves: train again with newer or more data (lastaisle train)"

    def _ago(self, moment: datetime) -> str:
        return f"{age(moment, self.now)} ago"
