"""A made-up shop: three days of sessions in which one of two other items follows each item.

The release tests use it, and so does the process that the kill tests kill. Models learn by counting, and are
packed without TensorFlow, so that a release takes seconds.
"""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from mlflow.tracking._tracking_service import utils as tracking

from lastaisle.evaluation.evaluate import evaluate_candidate
from lastaisle.lake import Lake, tables
from lastaisle.registry.registry import Registry
from lastaisle.release.release import current_champion, release_candidate
from lastaisle.settings import Settings
from lastaisle.training.planning import plan_window
from lastaisle.training.train import train_candidate

FIRST_DAY = datetime(2025, 10, 6, tzinfo=UTC)
ITEMS = 60


def end_of(day):
    return FIRST_DAY + timedelta(days=day)


def events(days=3, sessions=400, seed=1):
    """Return an events table: session n of a day starts n / sessions of the day after midnight."""
    generator = np.random.default_rng(seed)
    rows = []
    for day in range(days):
        for number in range(sessions):
            item = int(generator.integers(ITEMS))
            begin = FIRST_DAY + timedelta(days=day, seconds=86_000 * number / sessions)
            for step in range(5):
                at = begin + timedelta(seconds=10 * step)
                rows.append(
                    {
                        "session_id": f"s{day}-{number}",
                        "user_id": f"u{number}",
                        "item_id": f"i{item}",
                        "event_type": "item_viewed",
                        "occurred_at": at,
                        "sequence": step,
                        "device_type": "mobile",
                        "consent_personalization": True,
                        "event_date": at.date(),
                        "batch_id": "made-up",
                    }
                )
                item = (item * 3 + int(generator.integers(2)) + 1) % ITEMS
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("session_id", "user_id", "item_id", "event_type")),
            ("occurred_at", pa.timestamp("us", "UTC")),
            ("sequence", pa.int64()),
            ("device_type", pa.string()),
            ("consent_personalization", pa.bool_()),
            ("event_date", pa.date32()),
            ("batch_id", pa.string()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def package(recommender, folder, *, exclude_seen=False):
    """Stand in for models.serving.export.package."""
    import models.serving.export

    recommender.save(folder / "saved")
    return {
        "python_model": str(Path(__file__).with_name("light_model.py")),
        "artifacts": {
            "saved": str(folder / "saved"),
            "vocabulary": str(folder / "saved" / "vocabulary.json"),
        },
        "signature": models.serving.export.signature(exclude_seen=exclude_seen),
        "pip_requirements": ["mlflow"],
    }


def pack_lightly(setattr_):
    """Replace the packing of models, through monkeypatch.setattr or setattr."""
    import models.serving.export

    setattr_(models.serving.export, "package", package)


def copy_home(home, to):
    """Copy a home; MLflow may have its database open."""
    shutil.copytree(home, to, ignore=shutil.ignore_patterns("mlflow.db*"))
    with (
        closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as source,
        closing(sqlite3.connect(to / "mlflow" / "mlflow.db")) as target,
    ):
        source.backup(target)


def rename_home(home, before):
    """Let MLflow's database name the home where it is now, and not where it was `before`."""
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as database, database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info({table})").fetchall():
                if kind.startswith(("VARCHAR", "TEXT")):
                    statement = f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE {column} LIKE ?"
                    database.execute(statement, (before, str(home), f"%{before}%"))
    tracking._artifact_repos_cache.clear()  # by ids of runs and models, which are those of the copy too


class Installation:
    """A home folder with its settings, lake and registry.

    Args:
        home: the folder.
        templates: a folder for copies of homes; see `released`.
    """

    def __init__(self, home, templates=None):
        self.settings = Settings.of(home=home)
        self._templates = templates
        self.lake = Lake(self.settings.lake.url)
        self._registry = None

    @property
    def registry(self):
        self._registry = self._registry or Registry(self.settings)
        return self._registry

    def with_events(self, table=None):
        self.lake.append("events", events() if table is None else table, key="made-up")
        return self

    def with_catalogue(self):
        """List all items of the shop since before the first day."""
        listed = {"valid_from": end_of(0), "available": True, "removed": False, "batch_id": "made-up"}
        rows = [{"item_id": f"i{item}", **listed} for item in range(ITEMS)]
        self.lake.append(tables.ITEMS, pa.Table.from_pylist(rows, schema=tables.ITEMS_SCHEMA), key="listed")
        return self

    def plan(self, day, kind="incremental", architecture="cooccurrence"):
        champion = current_champion(self.lake, self.registry)
        return plan_window(self.lake, self.settings, end_of(day), kind, champion, architecture=architecture)

    def train(self, day, **options):
        return train_candidate(self.plan(day, **options), self.lake, self.registry)

    def evaluate(self, run_id):
        return evaluate_candidate(run_id, self.lake, self.registry)

    def release(self, run_id, rules=None):
        return release_candidate(run_id, self.lake, self.registry, actor="tester", rules=rules)

    def day(self, day, rules=None, **options):
        """Plan, train, evaluate and release one day."""
        run_id = self.train(day, **options)
        self.evaluate(run_id)
        return self.release(run_id, rules)

    def released(self, *days, rules=None):
        """Let days be released, as `day` does with each, in a home that only the fixture `home` has touched.

        The first test of a process that asks for some days trains them, and the others get a copy.
        """
        if not days:
            return
        home = Path(self.settings.home)
        named = hashlib.sha256(repr((days, rules)).encode()).hexdigest()
        template = self._templates / named[:16]
        if not template.exists():
            self.released(*days[:-1], rules=rules)
            self.day(days[-1], rules)
            template.mkdir(parents=True)
            copy_home(home, template / "home")
            (template / "path").write_text(str(home))
        elif self._registry is not None:
            raise AssertionError("something was registered before")
        else:
            shutil.rmtree(home)
            copy_home(template / "home", home)
            rename_home(home, (template / "path").read_text())
            self.lake = Lake(self.settings.lake.url)

    def state(self):
        """Return the state that must not depend on the moment of a kill: no ids, times and digests."""
        moves = self.lake.scan("releases").sort_by("entry").to_pylist() if self.lake.table("releases") else []
        rows = self.lake.scan("training_runs").to_pylist() if self.lake.table("training_runs") else []
        versions = self.registry.client.search_model_versions(f"name = '{self.settings.registry.model_name}'")
        runs = self.registry.client.search_runs([self.registry.experiment_id])
        timed = {
            "run_id",
            "moved_at",
            "started_at",
            "finished_at",
            "train_seconds",
            "move_id",
            "digest",
            "chain",
        }
        return {
            "moves": [{name: value for name, value in move.items() if name not in timed} for move in moves],
            "training_runs": sorted(
                ({name: str(value) for name, value in row.items() if name not in timed} for row in rows),
                key=lambda row: row["run_key"],
            ),
            "versions": sorted(
                (str(v.version), v.tags["run_key"], v.tags.get("lastaisle.decision", "")) for v in versions
            ),
            "aliases": self.registry.aliases(),
            "runs": sorted((run.data.tags["run_key"], run.info.status) for run in runs),
            "artifacts": sorted(
                (run.data.tags["run_key"], file.path)
                for run in runs
                for folder in (None, "evaluation", "release", "plots", "card")
                for file in self.registry.client.list_artifacts(run.info.run_id, folder)
            ),
        }
