"""A script of the tests: ten processes, five of each scheduler, promote and roll back at the same moment.

Usage: python -m tests.release.moving HOME. The ledger and MLflow are real; the versions are empty. Each
process that moved the champion leaves a file in the folder `moved`. Processes are forked, so that imports
happen only once. No thread runs before a fork, because no library is used before it.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb  # noqa: F401
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

from lastaisle.lake import Lake
from lastaisle.registry import losses
from lastaisle.registry.ledger import PROMOTE, Ledger, LedgerConflictError, Move
from lastaisle.registry.registry import Registry
from lastaisle.registry.tags import RUN_KEY
from lastaisle.release import rollback as rolling
from lastaisle.release.release import sync_aliases
from lastaisle.settings import Settings
from tests.release.scripts import fork, forked

VERSIONS, PROCESSES = 8, 10


def stores(home):
    settings = Settings.of(home=home)
    return Lake(settings.lake.url), Registry(settings)


def allow_empty_versions():
    """Versions of this test have no files."""
    losses.missing_part = lambda *_: None
    rolling.require_servable = lambda *_: "key"
    rolling._say_forced = lambda *_: None
    Registry.require_digest = lambda *_: None


def promote(version, lake, registry, actor):
    """Promote a version, as a release does: decide again if the champion moved meanwhile."""
    ledger = Ledger(lake, registry.model_name)
    for attempt in range(50):
        champion = ledger.standing().champion
        move = Move(
            f"{version}/{actor}/decide",
            datetime.now(UTC),
            actor,
            PROMOTE,
            registry.model_name,
            "champion",
            champion,
            version,
            f"It is better (attempt {attempt + 1}).",
            registry.run_of(version),
            "key",
        )
        try:
            ledger.write(move)
        except LedgerConflictError:
            continue
        return sync_aliases(lake, registry)
    raise AssertionError("50 attempts")


def begin(home):
    """Register the versions, and promote the first three."""
    lake, registry = stores(home)
    registry.client.create_registered_model(registry.model_name)
    for number in range(1, VERSIONS + 1):
        run_id = registry.begin_run(f"training {number}", {RUN_KEY: "key"})
        registry.client.create_model_version(registry.model_name, f"file:///nowhere/{number}", run_id)
    for number in (1, 2, 3):
        promote(str(number), lake, registry, "begin")


def move(home, number, moment):
    """Move once, at the moment: even numbers promote, odd numbers roll back to a named version."""
    lake, registry = stores(home)
    actor = f"scheduler{number % 4 // 2}:{number}"
    time.sleep(max(0.0, moment - time.time()))
    moved = True
    if number % 2 == 0:
        promote(str(4 + number // 2), lake, registry, actor)
    else:
        options = {"to_version": str(1 + number % 3), "reason": f"bad {number}", "actor": actor}
        moved = rolling.rollback(lake, registry, dry_run=False, **options).moved
    if moved:
        (home / "moved" / actor).touch()


def tell(home):
    lake, registry = stores(home)
    ledger = Ledger(lake, registry.model_name)
    aliases, mark = registry.aliases_with_mark()
    wanted = {alias: version for alias, version in ledger.standing().aliases.items() if version}
    moves = ledger.moves()
    told = {"aliases": aliases, "wanted": wanted, "marked": mark == moves[-1].move_id}
    told["moves"] = [
        {"actor": one.actor, "action": one.action, "from": one.from_version, "to": one.to_version}
        for one in moves
    ]
    json.dump(told | {"broken": ledger.check().broken}, sys.stdout)


def main(home):
    allow_empty_versions()
    assert forked(lambda: begin(home)) == 0
    (home / "moved").mkdir()
    moment = time.time() + 2.0
    children = [fork(lambda number=number: move(home, number, moment)) for number in range(PROCESSES)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * PROCESSES
    assert forked(lambda: tell(home)) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
