"""A made-up shop whose second candidate takes steps: its figures, its services' counts, and its rules.

The tests of the steps use it, and so does the script that the kill test kills.
"""

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from lastaisle.feedback.health import LATENCY_BOUNDS, SERVICE_METRICS_SCHEMA
from lastaisle.lake.tables import SERVICE_METRICS
from lastaisle.release.guardrails.watch import watch_releases
from lastaisle.release.release import release_candidate
from lastaisle.release.steps.rules import release_rules
from lastaisle.settings import Settings
from tests.baseline.shop import CHAMPION, OPENED, hours_of, steady, write_figures
from tests.shops.made_up_shop import Installation, end_of

RULES = """
steps:
  shadow:
    share: 0.5
    min_hours: 0
    min_requests: 100
    online:
      - {metric: errors, at_most: 0.01}
      - {metric: overlap, at_least: 0.2}
  canary:
    share: 0.3
    min_hours: 12
    max_hours: 96
    min_sessions: 500
    online:
      - {metric: conversion, worse_by_at_most: 0.15}
guardrails:
  maturity_hours: 0
"""
#: The hour of the newest event of the made-up shop, after its third day.
NEWEST = int(end_of(3).timestamp() // 3600) - OPENED
LATER = datetime(2100, 1, 1, tzinfo=UTC)


class SteppingShop(Installation):
    """A home with release rules, a champion (version 1), and figures of the six weeks before."""

    def __init__(self, home, rules=RULES):
        super().__init__(home)
        home.mkdir(parents=True, exist_ok=True)
        path = home / "release.yaml"
        if not path.exists():
            path.write_text(rules, encoding="utf-8")
        self.settings = Settings.of(home=home, release_rules=str(path))

    def begin(self):
        """Make version 1 champion, and train and evaluate a candidate."""
        self.with_events()
        self.day(1)
        run_id = self.train(2)
        self.evaluate(run_id)
        (self.settings.home / "candidate").write_text(run_id)
        write_figures(
            self.lake, hours_of(steady, {**CHAMPION, "model_version": "1"}, NEWEST - 6 * 168, NEWEST)
        )
        return self

    def release_candidate(self):
        """Release the candidate."""
        run_id = (self.settings.home / "candidate").read_text()
        return release_candidate(
            run_id, self.lake, self.registry, actor="tester", steps=release_rules(self.settings)
        )

    def watch(self, **options):
        """Watch the releases."""
        return watch_releases(self.lake, self.registry, self.settings, actor="watcher", **options)

    def standing(self):
        """Return the aliases of the steps, as MLflow has them."""
        aliases = self.registry.aliases()
        return {name: aliases.get(name) for name in ("champion", "canary", "shadow")}

    def served(self, version, role="shadow", errors=0, requests=400, arm=None, overlap=0.6):
        """Write how services answered."""
        counts = [0] * (len(LATENCY_BOUNDS) + 1)
        counts[5] = requests - errors
        at = datetime.now(UTC) + timedelta(hours=1)
        row = {
            **dict.fromkeys(("refused", "empty_lists", "dropped"), 0),
            "interval_start": at,
            "interval_end": at + timedelta(minutes=1),
            "service": "s",
            "sequence": 1,
            "model_name": "checkout-recommender",
            "model_version": version,
            "role": role,
            "arm": arm,
            "requests": requests,
            "errors": errors,
            "latency_counts": counts,
            "latency_seconds": 0.001 * requests,
            "compared": requests,
            "compared_items": 10,
            "overlap_sum": overlap * requests,
            "event_date": at.date(),
        }
        table = pa.Table.from_pylist([row], SERVICE_METRICS_SCHEMA)
        self.lake.append(SERVICE_METRICS, table, key=f"{version} {role} {arm} {errors}")

    def shopped(self, who, rates, first, end, **options):
        """Write figures, and an event of their newest hour."""
        rows = hours_of(rates, who, NEWEST + first, NEWEST + end, **options)
        write_figures(self.lake, rows)
        self.reach(NEWEST + end)

    def reach(self, hour):
        """Write an event just before an hour."""
        at = datetime.fromtimestamp(3600 * (OPENED + hour), UTC) - timedelta(seconds=1)
        event = self.lake.scan("events").slice(0, 1).to_pylist()[0] | {
            "occurred_at": at,
            "event_date": at.date(),
        }
        schema = self.lake.scan("events").schema
        self.lake.append("events", pa.Table.from_pylist([event], schema), key=f"newest {hour}")


def arm(name, version, trial="canary-2"):
    """Return who made the lists of an arm of a canary."""
    return {**CHAMPION, "model_version": version, "experiment": trial, "arm": name}


def canary_hours(shop, rates, hours=48, sessions=3000):
    """Write hours of both arms of the canary."""
    shop.shopped(arm("control", "1"), steady, 0, hours, sessions=2 * sessions)
    shop.shopped(arm("canary", "2"), rates, 0, hours, sessions=sessions)


class Homes:
    """A home, and copies of it in several states; MLflow keeps absolute paths, so it stays in its place."""

    def __init__(self, folder):
        self.home = folder / "home"

    def at(self, state):
        """Return the home in a state, which is made once, with the states before it."""
        if not self._copy(state).exists():
            shop = SteppingShop(self.home) if state is begun else self.at(BEFORE[state])
            state(shop)
            self.keep(state)
        self.restore(state)
        return SteppingShop(self.home)

    def _copy(self, state):
        return self.home.with_name(getattr(state, "__name__", state))

    def keep(self, state):
        """Copy the home."""
        shutil.rmtree(self._copy(state), ignore_errors=True)
        shutil.copytree(self.home, self._copy(state))

    def restore(self, state):
        """Put the home back into a state."""
        copy = self._copy(state)
        for path in ("lake", "mlflow/artifacts"):
            shutil.rmtree(self.home / path)
            shutil.copytree(copy / path, self.home / path)
        shutil.copy(copy / "release.yaml", self.home)
        # MLflow holds the database open, so its rows are put back into the same file.
        database = Path("mlflow", "mlflow.db")
        with sqlite3.connect(copy / database) as kept, sqlite3.connect(self.home / database) as used:
            kept.backup(used)


def begun(shop):
    """A champion and an evaluated candidate."""
    shop.begin()


def as_shadow(shop):
    """The candidate is the shadow."""
    assert shop.release_candidate().promote


def as_canary(shop):
    """The candidate is the canary."""
    shop.served("2")
    shop.watch()


def promoted(shop):
    """The candidate is the champion."""
    canary_hours(shop, steady)
    shop.watch()


BEFORE = {as_shadow: begun, as_canary: as_shadow, promoted: as_canary}
