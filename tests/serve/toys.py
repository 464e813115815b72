"""A service in this process, with a model of a few lines."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lastaisle.collect.calls import Call
from lastaisle.privacy.domains import LakeKey
from lastaisle.serve.app import Limits, create_app
from lastaisle.serve.following.served import ServedVersion
from lastaisle.serve.parts import Parts
from lastaisle.serve.pseudonyms import Pseudonyms
from lastaisle.settings import Settings
from lastaisle.web.keys import Keys

KEY = "a-key"
LAKE_KEY = LakeKey(1, b"k" * 32, "f")


class ToyModel:
    """Scores the item after the last known item highest, then the one after that, around a ring.

    Item i has the id "i<i>". The popular items are i1, i2, ...: popularity falls with the index.
    """

    def __init__(self, size: int = 10, columns: Mapping[str, str] | None = None) -> None:
        self.items = np.array(["", *(f"i{number}" for number in range(1, size + 1))], dtype=object)
        self.index = {item: at for at, item in enumerate(self.items.tolist()) if item}
        self.columns = dict(columns or {"country": "session", "price": "event", "user": "session"})
        self.exclude_seen = False
        self.asked: list[list[tuple[Any, Any]]] = []
        self.wait: Callable[[], Any] = lambda: None

    def score(self, sessions: Sequence[tuple[Any, Mapping[str, Any] | None]]):
        self.asked.append(list(sessions))
        self.wait()
        size = len(self.items)
        scores = np.empty((len(sessions), size), np.float32)
        scored = np.zeros(len(sessions), bool)
        for row, (items, context) in enumerate(sessions):
            for name, value in (context or {}).items():
                if name == "country" and not isinstance(value, str | None):
                    raise ValueError(f"session {row}: country should be a text, received {value!r}")
            known = [self.index[item] for item in items if item in self.index]
            scored[row] = bool(known)
            if known:
                scores[row] = 1.0 - ((np.arange(size) - known[-1] - 1) % size) / size
                scores[row] += sum(0.001 * (np.arange(size) == each) for each in known)
            else:
                scores[row] = np.linspace(1, 0.1, size) / size
        scores[:, 0] = -np.inf
        return scores, scored

    def score_each(self, sessions: Sequence[tuple[Any, Mapping[str, Any] | None]], use: Callable[..., Any]):
        scores, scored = self.score(sessions)
        for row in range(len(sessions)):
            given = scores[row].copy()
            kept = weakref.ref(given)
            use(row, given, bool(scored[row]))
            del given
            assert kept() is None, "LiteRT refuses to run while its scores are in use"


@dataclass
class ToyVersions:
    current: ServedVersion | None
    problem: str = ""
    age_seconds: float | None = 1.0

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass
class ToySink:
    """Keeps lines in memory; `refuse` is raised instead, if it is set."""

    lines: list[bytes] = field(default_factory=list)
    refuse: Exception | None = None
    closed: bool = False
    waiting: int = 0

    def open(self) -> None: ...

    async def append(self, calls: Sequence[Call]) -> None:
        if self.refuse:
            raise self.refuse
        self.lines += [call.line for call in calls]

    def check(self) -> None:
        if self.refuse:
            raise self.refuse

    def close(self) -> None:
        self.closed = True


class ToyPseudonyms(Pseudonyms):
    """Pseudonyms with a fixed key; no thread."""

    def __init__(self, key: LakeKey | None = LAKE_KEY) -> None:
        super().__init__(Settings.of(home="/nowhere"))
        self._key, self._problem = key, "" if key else "there is no key"

    def start(self) -> None: ...


def version_of(model: ToyModel, number: str = "7") -> ServedVersion:
    return ServedVersion(model, "shop", number, "run", "champion", "d" * 64, datetime.now(UTC))  # type: ignore[arg-type]


@dataclass
class ToyService:
    """The parts of a service and its application."""

    model: ToyModel = field(default_factory=ToyModel)
    sink: ToySink = field(default_factory=ToySink)
    limits: Limits = field(default_factory=Limits)
    key: LakeKey | None = LAKE_KEY
    shelf: Any = None
    origins: Sequence[str] = ()
    listeners: tuple[Any, ...] = ()
    trials: Any = None
    consents: Any = None

    def __post_init__(self) -> None:
        self.versions = ToyVersions(version_of(self.model))
        self.keys = Keys([KEY, "another"])
        self.parts = Parts(
            versions=self.versions,
            keys=self.keys,
            sink=self.sink,
            pseudonyms=ToyPseudonyms(self.key),
            shelf=self.shelf,
            listeners=self.listeners,
            trials=self.trials,
            consents=self.consents,
        )
        self.app = create_app(self.parts, origins=self.origins, limits=self.limits)


class Gate:
    """Stops a model until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.opened.wait(20)
