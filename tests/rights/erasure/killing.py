"""An erasure in a process of its own that kills itself at one of its steps."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lastaisle.lake import Lake
from lastaisle.lake.folder import TableFolder
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.rights.erasure import Places, Subjects, erase
from lastaisle.rights.erasure.known import Known

# Each erasure is forked from an interpreter that has imported all modules and used none: it has no threads.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__, "deltalake", "duckdb", "pyarrow.dataset"])


def erase_in_world(folder: Path, user_ids: list[str], *, dry_run: bool = False) -> Any:
    """Erase shoppers from the lake of a tests.privacy.worlds.World."""
    keys = PseudonymKeys.load(folder / "keys.json", environ={})
    assert keys is not None
    return erase(
        Subjects.of(user_ids, keys), Places(Lake(folder / "lake"), folder / "erasure"), dry_run=dry_run
    )


def erase_and_die(folder: Path, user_ids: list[str], step: int) -> int | None:
    """Erase, and die by SIGKILL at a step, from 1; return the steps of an erasure that lived."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_work, args=(folder, user_ids, step, theirs))
    process.start()
    theirs.close()
    process.join(120)
    if process.exitcode == 0:
        return int(ours.recv())
    assert process.exitcode == -signal.SIGKILL, f"the erasure ended with {process.exitcode}"
    return None


def _work(folder: Path, user_ids: list[str], step: int, answer: Any) -> None:
    from deltalake import DeltaTable

    from lastaisle.lake import rewritten

    steps = 0

    def arrive() -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            arrive()
            done = function(*arguments, **named)
            arrive()
            return done

        return called

    for owner, names in {
        rewritten: ("_write", "_commit"),
        TableFolder: ("discard", "replace"),
        DeltaTable: ("create_checkpoint",),
        Known: ("save",),
    }.items():
        for name in names:
            setattr(owner, name, around(getattr(owner, name)))
    erase_in_world(folder, user_ids)
    answer.send(steps)
