"""A script of the kill tests: kill -9 after each write of each step in turn, then run the step again.

Usage: python -m tests.release.killed_steps FOLDER. The script writes one JSON line a step and write: the
state after the second run. The line with write 0 is of an undisturbed run. Each run is a forked process, so
that imports happen only once. No thread runs before a fork, because no library is used before it.
"""

import json
import os
import signal
import sys
from pathlib import Path

# Imported once, before the forks. Imports start no thread.
import duckdb  # noqa: F401
import git  # noqa: F401
import matplotlib.figure  # noqa: F401
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
import rich.markdown  # noqa: F401
import tensorflow  # noqa: F401
from mlflow import MlflowClient

from lastaisle.experiments.traffic import read_traffic
from lastaisle.lake import Lake
from lastaisle.registry.ledger import Ledger
from tests.baseline.shop import CHAMPION, dropped, steady
from tests.release.scripts import forked
from tests.release.steps_home import (
    Homes,
    SteppingShop,
    as_canary,
    as_shadow,
    begun,
    canary_hours,
    promoted,
)
from tests.shops import made_up_shop

#: The commits of tables, and the aliases; the tables and tags in MLflow come before and after them.
WRITES = {Lake: ["_write"], MlflowClient: ["set_registered_model_alias"]}
#: Step: the state before it, and what comes in before it.
STEPS = {
    "shadow": (begun, lambda shop: None),
    "canary": (as_shadow, lambda shop: shop.served("2")),
    "champion": (as_canary, lambda shop: canary_hours(shop, steady)),
    "retired": (as_canary, lambda shop: canary_hours(shop, dropped(0, 0.4))),
    "rolled back": (
        promoted,
        lambda shop: shop.shopped({**CHAMPION, "model_version": "2"}, dropped(0, 0.3), 48, 80),
    ),
}


def arm(nth):
    """Make this process kill itself after its n-th write; return the list that counts the writes."""
    writes = []
    for holder, names in WRITES.items():
        for name in names:
            setattr(holder, name, counted(getattr(holder, name), writes, nth))
    return writes


def counted(original, writes, nth):
    def wrapped(*args, **options):
        result = original(*args, **options)
        writes.append(1)
        if len(writes) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return wrapped


def take(shop, step):
    """Take the step."""
    shop.release_candidate() if step == "shadow" else shop.watch()


def state_of(shop):
    """Return what must not depend on the moment of a kill."""
    ledger = Ledger(shop.lake, shop.registry.model_name)
    version = shop.registry.client.get_model_version(shop.registry.model_name, "2")
    return {
        "aliases": shop.registry.aliases(),
        "moves": [(move.action, move.from_version, move.to_version, move.reason) for move in ledger.moves()],
        "chain": list(ledger.check().broken),
        "trials": [(move.trial.name, move.state, move.reason) for move in read_traffic(shop.lake).moves],
        "tags": {name: text for name, text in version.tags.items() if name.startswith("lastaisle.step")},
    }


def main(folder):
    made_up_shop.pack_lightly(setattr)
    homes = Homes(folder)
    assert forked(lambda: homes.at(promoted)) == 0
    for step, (before, comes_in) in STEPS.items():
        homes.restore(before)
        assert forked(lambda comes_in=comes_in: comes_in(SteppingShop(homes.home))) == 0
        homes.keep("ready")
        count = folder / "count"
        assert forked(lambda step=step, count=count: undisturbed(homes.home, step, count)) == 0
        for nth in range(1, int(count.read_text()) + 1):
            homes.restore("ready")
            status = forked(lambda step=step, nth=nth: (arm(nth), take(SteppingShop(homes.home), step)))
            assert os.WIFSIGNALED(status), (step, nth)
            assert os.WTERMSIG(status) == signal.SIGKILL, (step, nth)
            assert forked(lambda step=step, nth=nth: again(homes.home, step, nth)) == 0


def undisturbed(home, step, count):
    """Take the step, count its writes, and print the state."""
    writes, shop = arm(0), SteppingShop(home)
    take(shop, step)
    count.write_text(str(len(writes)))
    tell(shop, step, 0)


def again(home, step, nth):
    """Take the step again after a kill, and print the state."""
    shop = SteppingShop(home)
    take(shop, step)
    tell(shop, step, nth)


def tell(shop, step, nth):
    sys.stdout.write(json.dumps({"step": step, "write": nth, "state": state_of(shop)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
