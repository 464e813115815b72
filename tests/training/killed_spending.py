"""A script of the kill tests: kill -9 at each boundary of a private training, then run it again.

Usage: python -m tests.training.killed_spending FOLDER. The script writes one JSON line a boundary: whether
the process was killed there, how many rows `privacy_spent` has in the end, how many trainings finished, and
whether the finished run has a row.
"""

import dataclasses
import json
import os
import shutil
import signal
import sys
from pathlib import Path

# Imported once, before the forks. Imports start no thread.
import duckdb  # noqa: F401
import matplotlib.figure  # noqa: F401
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
import tensorflow  # noqa: F401

from lastaisle.lake import Lake
from lastaisle.privacy.budget.spent import read_spendings
from lastaisle.registry.registry import Registry
from lastaisle.training.kinds.incremental import Incremental
from models.private.mechanism import Mechanism
from tests.release.scripts import forked
from tests.shops import made_up_shop
from tests.shops.made_up_shop import Installation

# name → (class, method, text that the arguments hold); killed before the call, or after log_model
BOUNDARIES = {
    "the model has learned": (Lake, "append", "privacy_spent/", "before"),
    "the weights are logged, the run is open": (Registry, "log_model", "", "after"),
}


def report_noise():
    """Let each training report a mechanism, as a training with noise does."""
    learn = Incremental.learn

    def with_mechanism(self, *args):
        trained = learn(self, *args)
        mechanism = Mechanism("shopper", 1.0, 4.0, 1, 1.0, 400)
        return dataclasses.replace(trained, report=dataclasses.replace(trained.report, mechanism=mechanism))

    Incremental.learn = with_mechanism


def arm(boundary):
    """Make this process kill itself at the boundary."""
    holder, name, text, moment = BOUNDARIES[boundary]
    original = getattr(holder, name)

    def wrapped(*args, **options):
        hit = text in repr((args, options))
        if hit and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **options)
        if hit and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, name, wrapped)


def print_state(home, boundary, killed):
    """Write the line of a boundary."""
    shop = Installation(home)
    spent = {one.run_id for one in read_spendings(shop.lake)}
    runs = shop.lake.scan("training_runs")["run_id"].to_pylist()
    told = {"boundary": boundary, "killed": killed, "spent": len(spent), "runs": len(runs)}
    json.dump({**told, "finished_has_spent": set(runs) <= spent}, sys.stdout)
    sys.stdout.write("\n")


def begin(home):
    """Make an installation with events and an empty MLflow."""
    Installation(home).with_events().registry.aliases()


def main(folder):
    made_up_shop.pack_lightly(setattr)
    report_noise()
    home, template = folder / "home", folder / "template"
    assert forked(lambda: begin(home)) == 0
    home.rename(template)
    for boundary in BOUNDARIES:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(template, home)  # to the same path, because MLflow keeps absolute paths
        status = forked(lambda boundary=boundary: (arm(boundary), Installation(home).train(1)))
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert forked(lambda: Installation(home).train(1)) == 0
        assert forked(lambda boundary=boundary, killed=killed: print_state(home, boundary, killed)) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
