"""Trials in a real lake, and a service in this process that takes part in them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lastaisle.experiments.assignment import ranges_of_phases
from lastaisle.experiments.traffic import (
    Arm,
    Bandit,
    Phase,
    State,
    TrafficMove,
    Trial,
    read_traffic,
    write_move,
)
from lastaisle.lake import Lake
from lastaisle.serve.following.served import ServedVersion
from lastaisle.serve.trials.trials import Trials
from lastaisle.settings import Settings
from tests.serve.toys import ToyModel, ToyVersions, version_of

START = datetime.now(UTC) - timedelta(days=1)
_NUMBERS = itertools.count()


def experiment(name: str = "demo", *arms: Arm, shares: Sequence[float] = (), **changes: Any) -> Trial:
    """Return an experiment whose arms have equal shares, if no others are given."""
    arms = arms or (Arm(name="control"), Arm(name="new", policy="popular"))
    given = shares or [1 / len(arms)] * len(arms)
    [ranges] = ranges_of_phases([dict(zip([arm.name for arm in arms], given, strict=True))])
    phases = (Phase(starts_at=START, ranges=ranges),)
    fields = {"kind": "experiment", "arms": arms, "starts_at": START, "phases": phases}
    return Trial(name=name, **{**fields, **changes})


def bandit(*, context: tuple[str, ...] = (), share: float = 0.5) -> Trial:
    """Return a bandit over the model's list and the popular list."""
    algorithm = "linear_thompson" if context else "thompson"
    rules = Bandit(
        algorithm=algorithm,
        base={"control": 0.9, "new": 0.1},
        floor=0.05,
        share=share,
        context=context,
        options={"live_seconds": 0.001},
    )
    return experiment("which", kind="bandit", phases=(), bandit=rules)


class Arms:
    """The versions that a test has loaded."""

    why = "a test forbids it"
    problems: Sequence[str] = ()

    def __init__(self, **models: ToyModel) -> None:
        self.loaded = {name[1:]: version_of(model, name[1:]) for name, model in models.items()}
        self.wanted: list[str] = []
        self.too_many: list[str] = []
        self.listeners: list[Callable[[], None]] = []

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def add_listener(self, call: Callable[[], None]) -> None:
        self.listeners.append(call)

    def load(self, **models: ToyModel) -> None:
        """Load further versions, as the thread of a service does."""
        self.loaded |= {name[1:]: version_of(model, name[1:]) for name, model in models.items()}
        for call in self.listeners:
            call()

    def want(self, numbers: Sequence[str], champion: ServedVersion | None) -> list[str]:
        self.wanted = list(numbers)
        return self.too_many

    def get(self, number: str) -> ServedVersion | None:
        return self.loaded.get(number)


class Traffic:
    """The table `traffic` of a lake in a folder, and what a service in this process makes of it."""

    def __init__(self, folder: Path, **arms: ToyModel) -> None:
        self.settings = Settings.of(home=folder, serve_traffic_poll_seconds=0.1)
        self.lake = Lake(self.settings.lake.url)
        self.champion = ToyModel()
        self.versions = ToyVersions(version_of(self.champion))
        self.arms = Arms(**arms)
        self.told: list[str] = []
        self.trials = self.restart()

    def restart(self) -> Trials:
        """Return the trials of a service that starts on the same machine."""
        self.trials = Trials(self.settings, self.versions, self.arms, on_event=self.told.append)
        return self.trials

    def move(self, trial: Trial, state: State = "running") -> None:
        """Write a move, and let the service see it."""
        move = TrafficMove(f"move {next(_NUMBERS)}", datetime.now(UTC), state, trial, "a reason", "tests")
        assert write_move(self.lake, move, read_traffic(self.lake))
        self.trials.look()
