"""How much does a refresh for abandoned checkouts gain for similar shoppers, and for all others?

    python benchmarks/refresh.py [--sessions 6000] [--launches 150] [--hours 18]

A simulated shop launches many items a day. Its champion has learned the days before. Some hours into the new
day the abandoned checkouts are detected, and the champion is refreshed for them. Half of the sessions since
the champion's window evaluate both models, with a slice of abandoned sessions. Prints a table, and last a
line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lastaisle.evaluation.evaluate import evaluate_candidate
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.monitor.abandonment import record_new
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.registry.plan import TrainingPlan
from lastaisle.registry.registry import Registry
from lastaisle.release.release import current_champion, release_candidate
from lastaisle.settings import Settings
from lastaisle.simulate import DayOfLogs, ShopOptions, simulate
from lastaisle.training.planning import plan_window
from lastaisle.training.refresh import plan_refresh
from lastaisle.training.train import train_candidate

DAYS = 3  # days that the first champion learns; the refresh takes place on the next day


class Shop:
    """One installation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings.of(home=folder / "home", refresh_cooldown_minutes=0.0)
        self.lake, self.registry = Lake(self.settings.lake.url), Registry(self.settings)
        self.keys = PseudonymKeys.load_or_create(self.settings.privacy.key_file, environ={})

    def receive(self, day: date, lines: list[str], now: datetime) -> None:
        """Ingest the lines of a day that have arrived until now."""
        file = self.folder / f"{day.isoformat()}.jsonl"
        file.write_text("".join(f"{line}\n" for line in lines))
        ingest(str(file), "canonical", self.lake, self.keys, now=now)

    def learn(self, plan: TrainingPlan) -> dict[str, Any]:
        """Train, evaluate and release; return recall@20 overall and by slice, and other figures."""
        began = time.perf_counter()
        run_id = train_candidate(plan, self.lake, self.registry)
        trained = time.perf_counter() - began
        report = evaluate_candidate(run_id, self.lake, self.registry)
        decision = release_candidate(run_id, self.lake, self.registry, actor="benchmark")
        row: dict[str, Any] = {"promoted": decision.promote, "train_seconds": round(trained, 1)}
        for name in ("champion", "candidate"):
            model = report.models.get(name)
            if model is None:
                continue
            for part, scores in {"all": model.overall, **model.slices}.items():
                if part in ("all", "abandoned", "cold_items"):
                    row[f"{name}_{part}"] = round(scores.metrics["recall@20"].value, 4)
                    row[f"targets_{part}"] = scores.targets
        if report.churn is not None:
            row["churn"] = round(report.churn.value, 3)
        return row


def until(day: DayOfLogs, end: datetime) -> list[str]:
    """Return the lines of a day that happened before a moment."""
    stamp = f'"occurred_at":"{end:%Y-%m-%dT%H}'
    place = len('"occurred_at":"')
    kept = []
    for line in day.lines:
        at = line.find('"occurred_at":"')
        if at >= 0 and line[at + place : at + place + 13] < stamp[place:]:
            kept.append(line)
    return kept


def measured(shop: Shop, days: list[DayOfLogs], hours: int) -> dict[str, Any]:
    """Train a champion on all days but the last, and refresh the champion some hours into the last day."""
    *before, last = days
    midnight = datetime(last.day.year, last.day.month, last.day.day, tzinfo=UTC)
    for each in before:
        shop.receive(each.day, each.lines, midnight)
    first = shop.learn(plan_window(shop.lake, shop.settings, midnight, "full"))
    assert first["promoted"], first
    now = midnight + timedelta(hours=hours)
    shop.receive(last.day, until(last, now), now)
    abandoned = record_new(shop.lake, shop.settings)
    plan = plan_refresh(shop.lake, shop.settings, current_champion(shop.lake, shop.registry))
    row = shop.learn(plan)
    metrics = shop.registry.metrics(str(shop.registry.finished_run(plan.run_key)))
    facts = {name: int(value) for name, value in metrics.items() if name.startswith("refresh_")}
    return {"abandoned": abandoned, **facts, **row}


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=6000, help="sessions on an average day")
    parser.add_argument("--launches", type=int, default=150, help="new items a day")
    parser.add_argument("--hours", type=int, default=18, help="hours from midnight to the refresh")
    parser.add_argument("--seed", type=int, default=9)
    given = parser.parse_args()
    options = ShopOptions(
        given.seed, days=DAYS + 1, sessions_per_day=given.sessions, new_items_per_day=given.launches
    )
    with tempfile.TemporaryDirectory(prefix="lastaisle-refresh-") as folder:
        row = measured(Shop(Path(folder)), list(simulate(options)), given.hours)
    table = Table("recall@20", "targets", "champion", "refreshed")
    for part in ("all", "abandoned", "cold_items"):
        if f"targets_{part}" in row:
            scores = (f"{row[f'{name}_{part}']:.4f}" for name in ("champion", "candidate"))
            table.add_row(part.replace("_", " "), f"{row[f'targets_{part}']:,}", *scores)
    Console().print(table)
    print(json.dumps({"benchmark": "refresh", **row}))


if __name__ == "__main__":
    main()
