"""A script of the kill tests: kill -9 at each moment of an erasure in turn, then go on, and tell the state.

Usage: python -m tests.rights.killed FOLDER, with the folder `home` of a shop in it.
"""

import json
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import duckdb  # noqa: F401 - imported once, before the forks

from lastaisle.lake.tables import ERASED
from lastaisle.rights import work as works
from lastaisle.rights.inbox import Inbox
from lastaisle.rights.receipts import names_all, read_receipt
from lastaisle.rights.requests import read_requests, repair
from lastaisle.rights.restored import kept_erasures
from tests.release.scripts import forked
from tests.rights.conftest import ANNA, Shop

# name → (holder, name of the function, "before" or "after", which call)
BOUNDARIES = {
    "the ids lie in the inbox, the row is missing": (Inbox, "put", "after", 1),
    "tombstones are written, nothing is erased": (works, "mark", "after", 1),
    "the receipt is written, the row is missing": (works, "write_private", "after", 1),
    "the request is done, its ids are there": (Inbox, "finish", "before", 1),
}


def arm(boundary: str) -> None:
    """Make this process kill itself at the boundary."""
    holder, name, moment, nth = BOUNDARIES[boundary]
    original, calls = getattr(holder, name), []

    def wrapped(*args, **options):
        calls.append(1)
        if len(calls) == nth and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **options)
        if len(calls) == nth and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, name, wrapped)


def erase(home: Path, boundary: str) -> None:
    """Ask for an erasure, and do it; the process is killed at the boundary."""
    arm(boundary)
    desk = Shop(home).desk
    works.work(desk, works.ask(desk, "erase", [ANNA], "clerk").request_id, actor="clerk")


def go_on(home: Path) -> None:
    """Do what waits, as `lastaisle subjects list` and `resume` do."""
    desk = Shop(home).desk
    repair(desk.lake, desk.inbox, 28)
    for request in read_requests(desk.lake):
        works.work(desk, request.request_id, actor="clerk")


def print_state(home: Path, boundary: str, killed: bool) -> None:
    shop = Shop(home)
    receipts = [read_receipt(file.read_text()) for file in (shop.desk.inbox.folder / "receipts").iterdir()]
    state = {
        "boundary": boundary,
        "killed": killed,
        "requests": [[step.state for step in request.steps] for request in read_requests(shop.lake)],
        "users": sorted(map(str, shop.users())),
        "inbox": shop.desk.inbox.names(),
        "moments": len({row["before"] for row in shop.lake.scan(ERASED).to_pylist()}),
        "kept": [each.request_id for each in kept_erasures(shop.desk.inbox)],
        "receipts": [names_all(receipt, [ANNA]) for receipt in receipts],
    }
    json.dump(state, sys.stdout)
    sys.stdout.write("\n")


def main(folder: Path) -> None:
    """Kill at each boundary in a copy of the folder's home; no library is used before the forks."""
    for number, boundary in enumerate(BOUNDARIES):
        home = folder / f"killed-{number}"
        shutil.copytree(folder / "home", home)
        status = forked(partial(erase, home, boundary))
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert forked(partial(go_on, home)) == 0
        assert forked(partial(go_on, home)) == 0
        assert forked(partial(print_state, home, boundary, killed)) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
