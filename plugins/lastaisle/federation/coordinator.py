"""Run a federated training: start the coordinator's process, follow it, and take the weights."""

from __future__ import annotations

import json
import logging
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.federation.files import AGREEMENT, LOG, POPULARITY_ARRAY, ROUNDS, WEIGHTS_FILE
from lastaisle.federation.processes import COORDINATOR, command_of, coordinator_environ

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lastaisle.settings import Settings
    from models.federated.agreement import Agreement
    from models.options import Progress

FOLLOW_SECONDS = 0.5
END_SECONDS = 15.0
_SHOWN = 2000  # last characters of the coordinator's log in an error

logger = logging.getLogger(__name__)


class FederationError(LastaisleError):
    """A federated training that did not come to an end, or that no silo took part in."""

    exit_code = ExitCode.SERVICE_DOWN


@dataclass(frozen=True)
class Outcome:
    """What a federated training left.

    Attributes:
        weights: the weights after the last round, by name.
        popularity: float32 [size], the shares of the items that the silos found together.
        rounds: what each round did; see models.federated.rounds.Round.
    """

    weights: Mapping[str, NDArray[np.float32]]
    popularity: NDArray[np.float32]
    rounds: tuple[Mapping[str, Any], ...]

    @property
    def sessions(self) -> int:
        """The sessions of the silos that took part, from the round with most of them."""
        return max(int(done["sessions"]) for done in self.rounds)


def train_in_silos(
    agreement: Agreement, settings: Settings, folder: Path, progress: Progress | None = None
) -> Outcome:
    """Run all rounds with the silos that join.

    Args:
        agreement: the training.
        settings: where to listen, and how long to wait.
        folder: an empty folder for the files of this run.
        progress: is told after each round.

    Raises:
        EnvironmentUnmadeError: the environment of Flower cannot be made.
        FederationError: the coordinator failed, or in no round enough silos answered.
    """
    command = command_of(COORDINATOR, settings, "--folder", str(folder))
    (folder / AGREEMENT).write_text(agreement.to_json(), encoding="utf-8")
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            command,
            env=coordinator_environ(settings, folder),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        code = _follow(process, folder, agreement.rounds, progress)
    if code:
        raise FederationError(
            f"the coordinator ended with exit code {code}: {_end_of(folder / LOG) or 'it said nothing'}"
        )
    outcome = _outcome(folder)
    if not any(done["changed"] for done in outcome.rounds):
        raise FederationError(
            f"in none of {len(outcome.rounds)} rounds did {agreement.min_silos} silos send a usable update "
            f"({_why(outcome.rounds)}): start silos by `lastaisle federated join`, or see their logs"
        )
    return outcome


def _follow(process: subprocess.Popen[bytes], folder: Path, rounds: int, progress: Progress | None) -> int:
    """Tell the progress of the coordinator, and return its exit code. It ends with this process."""
    try:
        told = 0
        while process.poll() is None:
            time.sleep(FOLLOW_SECONDS)
            done = _rounds(folder)
            for entry in done[told:]:
                logger.info("%s", describe(entry, rounds))
                if progress:
                    progress(entry["number"] / rounds, describe(entry, rounds))
            told = len(done)
        return process.returncode
    finally:
        if process.stdin:
            process.stdin.close()  # the coordinator ends when its input ends
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def describe(done: Mapping[str, Any], rounds: int) -> str:
    """Return what a round did, in words."""
    refused = "; ".join(f"{name}: {why}" for name, why in sorted(done["refused"].items()))
    text = f"round {done['number']} of {rounds}: {done['silos']} silos, {len(done['refused'])} refused"
    return f"{text} ({refused})" if refused else text


def _rounds(folder: Path) -> list[dict[str, Any]]:
    """Return the rounds that are written whole."""
    path = folder / ROUNDS
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _outcome(folder: Path) -> Outcome:
    with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    popularity = arrays.pop(POPULARITY_ARRAY)
    return Outcome(arrays, popularity, tuple(_rounds(folder)))


def _why(rounds: tuple[Mapping[str, Any], ...]) -> str:
    """Say why silos were refused in the last round."""
    refused = rounds[-1]["refused"]
    return "; ".join(f"{name}: {why}" for name, why in sorted(refused.items())) or "no silo was there"


def _end_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()[-_SHOWN:] if path.exists() else ""
