"""500 versions: their runs in MLflow with evaluations, and the moves of the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.year.shop import DAYS, START
from lastaisle.evaluation.report import REPORT, Estimate, Evaluation, EvaluationReport, Scores
from lastaisle.lake import Lake
from lastaisle.lake.tables import RELEASES, RELEASES_SCHEMA
from lastaisle.registry.chain import CHAIN, ENTRY, link
from lastaisle.registry.ledger import NEWEST, PROMOTE, REFUSE, REGISTER, Move
from lastaisle.registry.registry import Registry
from lastaisle.release.gate import Check, Decision

LENGTHS = (1, 5, 10, 20)
SLICES = ("next_cart", "next_purchase", "mobile", "desktop", "short", "long", "cold", "warm")


def write_versions(lake: Lake, registry: Registry, count: int, progress: Callable[[str], None]) -> None:
    """Write runs with evaluations, and a ledger in which one version of five is refused."""
    generator = np.random.default_rng(1)
    runs = []
    for number in range(1, count + 1):
        run_id = registry.begin_run(f"simulated-{number}", {"lastaisle.simulated": "yes"})
        registry.log_text(run_id, _report(run_id, generator).to_json(), REPORT)
        registry.log_metrics(run_id, {"recall@20": float(generator.uniform(0.6, 0.7))})
        registry.end_run(run_id)
        runs.append(run_id)
        if number % 50 == 0:
            progress(f"{number} of {count} versions are in MLflow")
    _write_ledger(lake, registry.model_name, runs)


def _report(run_id: str, generator: np.random.Generator) -> EvaluationReport:
    def scores(against: bool) -> Scores:
        names = [
            f"{name}@{k}" for name in ("recall", "precision", "hit_rate", "mrr", "ndcg") for k in LENGTHS
        ]
        level = generator.uniform(0.6, 0.7)
        metrics = {name: Estimate(level, level - 0.03, level + 0.03) for name in names}
        return Scores(1700, metrics, {"champion": metrics, "popularity": metrics} if against else {})

    def evaluation(name: str) -> Evaluation:
        slices = {one: scores(True) for one in SLICES}
        return Evaluation(name, scores(True), slices, None, scores(True))

    now = datetime.now(UTC)
    models = {name: evaluation(name) for name in ("candidate", "champion", "anchor", "popularity")}
    return EvaluationReport(run_id, run_id, now, now, 900, 1700, "1", 0.8, models)


def _write_ledger(lake: Lake, model_name: str, runs: list[str]) -> None:
    """Write all moves in one commit, with their chain."""
    checks = tuple(
        Check(
            f"rule_{number}",
            True,
            f"Rule {number} holds: difference +0.01, 80% interval [0.00, 0.02].",
            0.01,
            "> 0",
        )
        for number in range(14)
    )
    first = datetime.combine(START, datetime.min.time(), UTC)
    rows: list[dict[str, Any]] = []
    champion, challenger, end = None, None, ""
    for number, run_id in enumerate(runs):
        version, refused = str(number + 1), number % 5 == 4
        at = first + timedelta(days=number * DAYS / len(runs))
        broken = (
            *checks,
            Check("recall", False, "The candidate is surely worse than the champion.", -0.1, "> 0"),
        )
        decision = Decision(not refused, broken if refused else checks)
        moves = [
            (REGISTER, "challenger", challenger, "Trained by a simulation.", None, at),
            (
                REFUSE if refused else PROMOTE,
                "champion",
                champion,
                " ".join(decision.reasons),
                decision.to_json(),
                at + timedelta(minutes=1),
            ),
        ]
        for action, alias, before, reason, decided, moved_at in moves:
            move = Move(
                f"{action}/{version}",
                moved_at,
                "simulation",
                action,
                model_name,
                alias,
                before,
                version,
                reason,
                run_id,
                run_id,
                decision=decided,
            )
            row = {ENTRY: len(rows), **asdict(move)}
            row[CHAIN] = end = link(end, row)
            rows.append(row)
        challenger, champion = version, champion if refused else version
    lake.append(
        RELEASES, pa.Table.from_pylist(rows, RELEASES_SCHEMA), key="moves", also={NEWEST: len(rows) - 1}
    )
