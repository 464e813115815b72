"""A script of the kill tests: kill -9 at each boundary in turn, then a plain re-run, and report the state.

Usage: python -m tests.release.killed FOLDER [BOUNDARY...]. The script writes one JSON line a boundary:
whether the process was killed there, and the state after the re-run. No process is killed at "none".
Each step runs in its own forked process, so that imports happen only once. No thread runs before a fork,
because no library is used before it.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

# Imported once, before the forks; otherwise each of 40 processes would import them. Imports start no thread.
import duckdb  # noqa: F401
import git  # noqa: F401
import matplotlib.figure  # noqa: F401
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
import rich.markdown  # noqa: F401
import tensorflow  # noqa: F401
from mlflow import MlflowClient

import models.counting.popularity
from lastaisle.lake import Lake
from lastaisle.registry.registry import Registry
from lastaisle.release.rollback import rollback
from tests.release.scripts import forked
from tests.shops import made_up_shop
from tests.shops.made_up_shop import Installation

# name → (class, method, "before" or "after", text that the arguments hold, which such call)
BOUNDARIES = {
    "training has begun": (models.counting.popularity.CountingModel, "_learn", "before", "", 1),
    "model is logged, run is open": (Registry, "log_model", "after", "", 1),
    "run is finished, its row is missing": (Lake, "append", "before", "training_run/", 1),
    "metrics of the evaluation are logged, its report is missing": (
        MlflowClient,
        "log_text",
        "before",
        "evaluation/report.json",
        1,
    ),
    "version exists, ledger has no row": (MlflowClient, "create_model_version", "after", "", 1),
    "registration stands in the ledger only": (Lake, "append", "after", "/register", 1),
    "decision is stored, ledger has no row": (MlflowClient, "log_text", "after", "release/decision.json", 1),
    "the card is logged as Markdown, not as a page": (MlflowClient, "log_text", "after", "model_card.md", 1),
    "promotion stands in the ledger only": (Lake, "append", "after", "/decide", 1),
    "champion has moved, previous has not": (
        MlflowClient,
        "set_registered_model_alias",
        "after",
        "champion",
        1,
    ),
    "all aliases are set, the mark is not": (Registry, "mark_aliases", "before", "/decide", 1),
    "rollback stands in the ledger only": (Lake, "append", "after", "rollback/", 1),
    "champion is rolled back, previous has not moved": (
        MlflowClient,
        "set_registered_model_alias",
        "after",
        "champion",
        2,
    ),
}


def arm(boundary):
    """Make this process kill itself at the boundary."""
    holder, name, moment, text, nth = BOUNDARIES[boundary]
    original = getattr(holder, name)
    calls = []

    def wrapped(*args, **options):
        hit = text in repr((args, options))
        if hit:
            calls.append(1)
        if hit and len(calls) == nth and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **options)
        if hit and len(calls) == nth and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, name, wrapped)


def second_day(home):
    """Run the second day, which is killed: its release and a rollback."""
    shop = Installation(home)
    shop.day(2)
    rollback(shop.lake, shop.registry, reason="bad", actor="tester", dry_run=False)


def run_again(home, boundary):
    """Run the day again, or only the rollback if the rollback was killed."""
    shop = Installation(home)
    if "roll" not in boundary:
        second_day(home)
    else:
        rollback(shop.lake, shop.registry, reason="bad", actor="tester", dry_run=False)


def first_day(home):
    shop = Installation(home).with_events()
    shop.day(1)


def print_state(home, boundary, killed):
    json.dump({"boundary": boundary, "killed": killed, "state": Installation(home).state()}, sys.stdout)
    sys.stdout.write("\n")


def main(folder, boundaries):
    made_up_shop.pack_lightly(setattr)
    home, template = folder / "home", folder / "template"
    assert forked(lambda: first_day(home)) == 0
    home.rename(template)
    for boundary in boundaries:
        run_one(home, template, boundary)


def run_one(home, template, boundary):
    """Start from the template, kill at the boundary, run again, and print the state."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(template, home)  # to the same path, because MLflow keeps absolute paths
    if boundary == "none":
        killed = False
        assert forked(lambda: second_day(home)) == 0
    else:
        status = forked(lambda: (arm(boundary), second_day(home)))
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert forked(lambda: run_again(home, boundary)) == 0
    assert forked(lambda: print_state(home, boundary, killed)) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["none", *BOUNDARIES])
