"""Does a bad day of data change the champion? Injected: crawlers, a broken feed, an hour twice, and others.

    python benchmarks/stability.py [--only TEXT …] [--sessions 900] [--again]

A simulated shop trains its champion every day. Then a fault is injected into one day, and the day passes
through the usual steps: ingest, warm start, evaluation, gate, release. For each injection the benchmark
prints the left-out rows and sessions, the gate's decision, and recall@20 on the clean sessions of the next
day: of the champion before and after, and of the candidate, promoted or not. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from lastaisle.evaluation.evaluate import evaluate_candidate
from lastaisle.evaluation.report import EvaluationReport
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.registry.registry import Registry
from lastaisle.release.gate import Decision, GateRules
from lastaisle.release.release import current_champion, release_candidate
from lastaisle.sessions.windows import evaluation_sessions
from lastaisle.settings import Settings
from lastaisle.simulate import DayOfLogs, ShopOptions, simulate
from lastaisle.simulate.bad_days import BAD_DAYS
from lastaisle.training.planning import plan_window
from lastaisle.training.train import train_candidate
from models.data.sequences import next_item_examples
from models.evaluation.ranking import rank_targets, summarize

QUIET, LEARNED = 6, 2  # days before the bad day; the last two of them train
COUNTS, MODELS = ("quarantined", "duplicates", "left_out"), ("before", "candidate", "after")
CONTROL = "nothing (a quiet day)"


@dataclass
class Shop:
    """One installation."""

    settings: Settings

    def __post_init__(self) -> None:
        self.lake = Lake(self.settings.lake.url)
        self.registry = Registry(self.settings)
        self.keys = PseudonymKeys.load_or_create(self.settings.privacy.key_file, environ={})

    def receive(self, day: date, lines: list[str]) -> dict[str, Any]:
        """Ingest a day's lines."""
        file = Path(self.settings.home) / "landing" / day.isoformat() / "part-0.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines))
        return ingest(str(file), "canonical", self.lake, self.keys, now=midnight_after(day)).to_dict()

    def learn(self, day: date, kind: str = "incremental") -> tuple[EvaluationReport, Decision]:
        """Train on the window that ends with the day; evaluate and release the candidate."""
        champion = current_champion(self.lake, self.registry)
        plan = plan_window(self.lake, self.settings, midnight_after(day), kind, champion)
        run_id = train_candidate(plan, self.lake, self.registry)
        report = evaluate_candidate(run_id, self.lake, self.registry)
        rules = GateRules.of(self.settings)
        return report, release_candidate(run_id, self.lake, self.registry, actor="benchmark", rules=rules)

    def recall(self, run_id: str, clean: Any) -> float:
        """Return recall@20 of a run's model on a session log."""
        ranking = rank_targets(self.registry.load_recommender(run_id), next_item_examples(clean))
        return float(summarize(ranking, (20,))["recall@20"])

    def champion_run(self) -> str:
        """Return the run of the version that serves."""
        champion = current_champion(self.lake, self.registry)
        assert champion is not None
        return champion.run_id

    def copied(self, to: Path) -> Shop:
        """Copy the shop to another folder; the artifacts of its models are shared with the original."""
        shutil.copytree(self.settings.home, to, ignore=shutil.ignore_patterns("artifacts", "landing"))
        return Shop(Settings.of(home=to, hyperparameters=self.settings.learning.hyperparameters))


def midnight_after(day: date) -> datetime:
    """Return the moment at which a day is over."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def quiet_days(shop: Shop, days: list[DayOfLogs]) -> list[float]:
    """Ingest quiet days, and train on the last of them; return the churn of each warm start."""
    churns = []
    for number, each in enumerate(days):
        shop.receive(each.day, each.lines)
        if number < len(days) - LEARNED:
            continue
        first = number == len(days) - LEARNED
        report, decision = shop.learn(each.day, "full" if first else "incremental")
        if report.churn is not None:
            churns.append(report.churn.value)
        assert decision.promote or not first, decision.reasons
    return churns


def bad_day(shop: Shop, name: str, days: list[DayOfLogs], clean: Any) -> dict[str, Any]:
    """Inject a fault into a day, train on it, and return the effect on the champion."""
    bad, *later = days
    before, rng = shop.champion_run(), np.random.default_rng(1)
    lines = BAD_DAYS[name](bad.lines, bad.day, rng) if name in BAD_DAYS else bad.lines
    came = shop.receive(bad.day, lines)
    report, decision = shop.learn(bad.day)
    recalls = [shop.recall(run, clean) for run in (before, report.run_id, shop.champion_run())]
    row = {
        "injection": name,
        "rows": len(lines),
        "quarantined": came["rows_quarantined"],
        "duplicates": came["rows_duplicate"],
        "left_out": sum(report.left_out.values()),
        "churn": round(report.churn.value, 3) if report.churn else None,
        "promoted": decision.promote,
        "reasons": list(decision.reasons) if not decision.promote else [],
        "recall_on_bad_day": [
            round(report.models[part].overall.metrics["recall@20"].value, 4)
            for part in ("champion", "candidate")
        ],
        **dict(zip(MODELS, np.round(recalls, 4).tolist(), strict=True)),
    }
    if later:
        row["promoted_again_after"] = 0 if decision.promote else days_until_promotion(shop, later)
    return row


def days_until_promotion(shop: Shop, later: list[DayOfLogs]) -> int | None:
    """Return the number of clean days until a candidate is promoted; None = not within these days."""
    for number, each in enumerate(later, start=1):
        shop.receive(each.day, each.lines)
        if shop.learn(each.day)[1].promote:
            return number
    return None


def clean_sessions(folder: Path, days: list[DayOfLogs]) -> Any:
    """Return the sessions of the day after the bad one."""
    shop = Shop(Settings.of(home=folder))
    shop.receive(days[1].day, days[1].lines)
    end = midnight_after(days[1].day)
    return evaluation_sessions(shop.lake, end - timedelta(days=1), end, None).log


def rows_of(names: list[str], given: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the churn of quiet days, then the outcome of each bad day."""
    days = list(simulate(ShopOptions(given.seed, days=QUIET + 2, sessions_per_day=given.sessions)))
    home = Settings.of(home=folder / "shop", hyperparameters='{"epochs": 3}')
    shop = Shop(home)
    yield {"churn_of_quiet_days": np.round(quiet_days(shop, days[:QUIET]), 3).tolist()}
    clean = clean_sessions(folder / "clean", days[QUIET:])
    for number, name in enumerate(names):
        days_left = days[QUIET:] if given.again else days[QUIET : QUIET + 1]
        yield bad_day(shop.copied(folder / str(number)), name, days_left, clean)


def main() -> None:
    """Inject the faults, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=900, help="sessions on an average day")
    parser.add_argument("--only", nargs="*", default=[], help="injections whose name contains a text")
    parser.add_argument("--again", action="store_true", help="after a refusal, go on with the next day")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    began = time.perf_counter()
    names = [
        name for name in (CONTROL, *BAD_DAYS) if not given.only or any(part in name for part in given.only)
    ]
    table = Table("injection", *COUNTS, "churn@20", "gate", *MODELS)
    with tempfile.TemporaryDirectory(prefix="lastaisle-stability-") as folder:
        quiet, *rows = rows_of(names, given, Path(folder))
    for row in rows:
        decided = "promoted" if row["promoted"] else f"refused: {row['reasons'][0]}"
        numbers = [f"{row[name]:,}" for name in COUNTS]
        recalls = [f"{row[name]:.4f}" for name in MODELS]
        table.add_row(row["injection"], *numbers, f"{row['churn']:.3f}", decided, *recalls)
    Console(width=150).print(table)
    seconds = round(time.perf_counter() - began, 1)
    print(json.dumps({"benchmark": "stability", **quiet, "rows": rows, "seconds": seconds}))


if __name__ == "__main__":
    main()
