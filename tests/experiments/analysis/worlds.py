"""A lake in which an experiment runs: its exposures with what followed, and the shop's events."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.experiments.assignment import ranges_of_phases
from lastaisle.experiments.traffic import (
    AnalysisRules,
    Arm,
    Phase,
    TrafficMove,
    Trial,
    read_traffic,
    write_move,
)
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, OUTCOMES, OUTCOMES_SCHEMA, TIMESTAMP
from lastaisle.settings import Settings

START = datetime(2026, 3, 2, tzinfo=UTC)
EVENTS_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("event_id", "session_id", "user_id", "item_id")),
        *(pa.field(name, pa.string()) for name in ("event_type", "order_id", "currency")),
        pa.field("occurred_at", TIMESTAMP),
        pa.field("quantity", pa.int32()),
        pa.field("price", pa.float64()),
        pa.field("event_date", pa.date32()),
    ]
)


def at(hour: float) -> datetime:
    """Return the moment so many hours after the start of the experiment."""
    return START + timedelta(hours=hour)


def rules(**changes: Any) -> AnalysisRules:
    """Return rules: conversion decides, and shoppers are observed for an hour."""
    given = {"primary": "conversion", "minimum_effect": 0.1, "horizon_hours": 1.0, "planned_units": 4000}
    return AnalysisRules(**{**given, "cuped_days": 2, **changes})


def trial(**changes: Any) -> Trial:
    """Return an experiment with two arms of half of the shoppers each."""
    shares = changes.pop("shares", [{"control": 0.5, "new": 0.5}])
    starts = changes.pop("phase_starts", [START])
    phases = tuple(
        Phase(starts_at=begin, ranges=ranges)
        for begin, ranges in zip(starts, ranges_of_phases(shares), strict=True)
    )
    arms = tuple(Arm(name=name) for name in shares[0])
    given = {"kind": "experiment", "arms": arms, "starts_at": START, "phases": phases, "analysis": rules()}
    return Trial(name="demo", **{**given, **changes})


@dataclass
class World:
    """A lake whose exposures and events the test says."""

    lake: Lake
    trial: Trial = field(default_factory=trial)
    shown_rows: list[dict[str, Any]] = field(default_factory=list)
    event_rows: list[dict[str, Any]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def settings(self) -> Settings:
        """The settings with this lake."""
        return Settings.of(lake=self.lake.url)

    def start(self, **changes: Any) -> None:
        """Start the experiment."""
        self.trial = trial(**changes)
        self.move("start")

    def move(self, move_id: str, state: Any = "running") -> None:
        """Write a move of the experiment."""
        write_move(
            self.lake,
            TrafficMove(move_id, START, state, self.trial, "a test", "tests"),
            read_traffic(self.lake),
        )

    def arm_of(self, unit: str, hour: float = 0.0) -> str | None:
        """Return the arm of a shopper by the hash."""
        return self.trial.arm_of(unit, at(hour))

    def shown(self, unit: str | None, hour: float, arm: str | None = "", **values: Any) -> None:
        """Show an item; by default in the arm of the hash, in the visit `visit-UNIT`."""
        label = self.arm_of(unit or "", hour) if arm == "" else arm
        row = dict.fromkeys(OUTCOMES_SCHEMA.names) | {"exposure_id": f"x{next(self._numbers):07}"}
        row |= {"user_id": unit, "session_id": f"visit-{unit}", "experiment": "demo", "arm": label}
        row |= {"shown_at": at(hour), "event_date": at(hour).date(), "placement": "checkout"}
        self.shown_rows.append({**row, **values})

    def event(self, unit: str | None, hour: float, kind: str, **values: Any) -> None:
        """Let a shopper do something, by default in the visit `visit-UNIT`."""
        row = dict.fromkeys(EVENTS_SCHEMA.names) | {"event_id": f"e{next(self._numbers):07}"}
        row |= {"user_id": unit, "session_id": f"visit-{unit}", "event_type": kind, "item_id": "i1"}
        row |= {"occurred_at": at(hour), "event_date": at(hour).date()}
        self.event_rows.append({**row, **values})

    def order(self, unit: str | None, hour: float, price: float = 10.0, **values: Any) -> None:
        """Let a shopper order an item."""
        given = {"order_id": f"o{next(self._numbers)}", "price": price, "currency": "EUR", "quantity": 1}
        self.event(unit, hour, "order_completed", **{**given, **values})

    def crowd(
        self, count: int, hours: float, rates: dict[str, float], seed: int = 1, first: float = 0.0
    ) -> None:
        """Show lists to many shoppers over some hours; the share `rates` of each arm orders."""
        draw = np.random.default_rng(seed)
        moments = first + np.sort(draw.random(count)) * hours
        for number, moment in enumerate(moments):
            unit = f"u{seed}-{number}"
            self.shown(unit, float(moment))
            if draw.random() < rates[self.arm_of(unit, float(moment)) or "control"]:
                self.order(unit, float(moment) + 0.2)

    def write(self, until: float) -> None:
        """Write what is new to the lake; the newest event lies `until` hours after the start."""
        self.event(None, until, "item_viewed", session_id="clock")
        for name, rows, schema in (
            (OUTCOMES, self.shown_rows, OUTCOMES_SCHEMA),
            (EVENTS, self.event_rows, EVENTS_SCHEMA),
        ):
            table = pa.Table.from_pylist(rows, schema)
            key = f"{name}{next(self._numbers)}"
            if name == OUTCOMES:
                end = pc.max(pa.array([at(until)], TIMESTAMP).cast(pa.int64())).as_py() + 1_000_000
                self.lake.append(name, table, key=key, also={"attribution:data_end": end})
            else:
                self.lake.append(name, table, key=key)
            rows.clear()
