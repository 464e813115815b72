"""50 experiments, one after another: their moves, and their results hour by hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from benchmarks.year.shop import DAYS, START
from lastaisle.experiments.assignment import Range
from lastaisle.experiments.traffic import AnalysisRules, Arm, Phase, Trial
from lastaisle.lake import Lake
from lastaisle.lake.tables import EXPERIMENT_RESULTS, EXPERIMENT_RESULTS_SCHEMA, TRAFFIC, TRAFFIC_SCHEMA

METRICS = ("conversion", "ctr", "revenue_per_shopper")


def write_trials(lake: Lake, count: int) -> None:
    """Write the tables `traffic` and `experiment_results`; the last experiment runs still."""
    moves: list[dict[str, Any]] = []
    results: list[pa.Table] = []
    length = timedelta(days=DAYS / count)
    for number in range(count):
        starts = datetime.combine(START, datetime.min.time(), UTC) + number * length
        starts = starts.replace(minute=0, second=0, microsecond=0)
        trial = _trial(f"experiment-{number + 1}", starts)
        moves.append(_move(len(moves), starts, "running", trial))
        if number < count - 1:
            moves.append(_move(len(moves), starts + length, "decided", trial))
        results.append(_results(trial, int(length / timedelta(hours=1)), number))
    lake.append(TRAFFIC, pa.Table.from_pylist(moves, TRAFFIC_SCHEMA), key="moves")
    lake.append(EXPERIMENT_RESULTS, pa.concat_tables(results), key="results")


def _trial(name: str, starts: datetime) -> Trial:
    return Trial(
        name=name,
        kind="experiment",
        arms=(Arm(name="control"), Arm(name="candidate", policy="popular")),
        starts_at=starts,
        phases=(
            Phase(starts_at=starts, ranges=(Range("control", 0, 5000), Range("candidate", 5000, 10000))),
        ),
        analysis=AnalysisRules(
            primary=METRICS[0], guardrails=METRICS[1:], minimum_effect=0.03, planned_units=50_000
        ),
    )


def _move(entry: int, at: datetime, state: str, trial: Trial) -> dict[str, Any]:
    return {
        "entry": entry,
        "move_id": f"{trial.name}/{state}",
        "moved_at": at,
        "subject": trial.name,
        "kind": trial.kind,
        "state": state,
        "trial": msgspec.json.encode(trial).decode(),
        "reason": "A simulation.",
        "actor": "simulation",
    }


def _results(trial: Trial, hours: int, seed: int) -> pa.Table:
    generator = np.random.default_rng(seed)
    rows = []
    for hour in range(1, hours + 1):
        half = 0.02 / np.sqrt(hour)
        for role, metric in zip(("primary", "guardrail", "guardrail"), METRICS, strict=True):
            difference = float(generator.normal(0, half / 2))
            rows.append(
                {
                    "experiment": trial.name,
                    "started_at": trial.starts_at,
                    "hour": trial.starts_at + timedelta(hours=hour),
                    "metric": metric,
                    "role": role,
                    "arm": "candidate",
                    "control": "control",
                    "units": 500 * hour,
                    "arm_units": 250 * hour,
                    "control_units": 250 * hour,
                    "arm_seen": 250 * hour,
                    "control_seen": 250 * hour,
                    "arm_expected": 0.5,
                    "control_expected": 0.5,
                    "value": 0.03 + difference,
                    "control_value": 0.03,
                    "difference": difference,
                    "low": difference - half,
                    "high": difference + half,
                    "fixed_low": difference - half / 2,
                    "fixed_high": difference + half / 2,
                    "p_value": 0.5,
                    "alpha": 0.05,
                    "rho": 1.0,
                    "ratio_p": 0.5,
                    "switched": 0,
                    "differs": 0,
                    "state": "running",
                    "reason": "",
                    "outcomes_version": 1,
                    "events_version": 1,
                }
            )
    return pa.Table.from_pylist(rows, EXPERIMENT_RESULTS_SCHEMA)
