"""What is for sale now: follows the table `items` of the lake, and keeps the last good state of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

import pyarrow as pa

from lastaisle.errors import LastaisleError
from lastaisle.lake.opening import open_lake
from lastaisle.lake.table_state import find_state
from lastaisle.lake.tables import ITEMS
from lastaisle.serve.shown.kept_rows import KeptRows, RowsFile, read_rows
from lastaisle.serve.shown.rules import Rules
from lastaisle.serve.shown.view import ShelfView, Snapshot
from lastaisle.settings import Settings
from models.checkout_model import CheckoutModel

TICK_SECONDS: Final = 0.5
_FAILURES: Final = (LastaisleError, OSError, ValueError, KeyError, pa.ArrowException)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Shown:
    """One snapshot, with the view of each model that is in use. It is replaced as a whole."""

    snapshot: Snapshot | None
    views: WeakKeyDictionary[CheckoutModel, ShelfView] = field(default_factory=WeakKeyDictionary)


class Shelf:
    """Follows the catalogue in a thread of its own. Several threads may ask it at once.

    Items that become unavailable are gone from the views at most one poll after the commit of their row. A
    row whose `valid_from` lies in the future becomes true at that time, also while the lake is away.

    While the lake cannot be read, the last good state stays, in memory and in a file on this machine's disk.
    A table that cannot be read never counts as no catalogue.

    Args:
        settings: names the lake, the folder of the file, how often to look, and the file of rules.
        on_event: gets a line of text about each change.

    Attributes:
        ready: whether it is known what is for sale, or that there is no catalogue.
        rules: the shop's rules, which the same thread follows.

    Raises:
        RuleError: the file of rules cannot be used.
    """

    def __init__(self, settings: Settings, *, on_event: Callable[[str], None] = log.info) -> None:
        self.ready = False
        self.rules = rules_of(settings)
        self._lake = open_lake(settings)
        self._file = RowsFile(Path(settings.serve.cache), self._lake.url)
        self._poll_seconds = settings.serve.catalogue_poll_seconds
        self._on_event = on_event
        self._problem = ""
        self._kept: KeptRows | None = None
        self._shown = _Shown(None)
        self._looked_at: float | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="shelf", daemon=True)

    @property
    def has_catalogue(self) -> bool:
        """Whether there is a catalogue."""
        return self._shown.snapshot is not None

    @property
    def age_seconds(self) -> float | None:
        """How long ago the lake last said what is for sale; None without a catalogue, or if it never did."""
        return (
            None if self._looked_at is None or not self.has_catalogue else time.monotonic() - self._looked_at
        )

    @property
    def problem(self) -> str:
        """What is wrong with the catalogue or with the rules, in plain words; empty if nothing is."""
        if self._thread.ident and not self._thread.is_alive() and not self._stopped.is_set():
            return "the thread that follows the catalogue has ended: restart the service; its log says why"
        return "; ".join(filter(None, [self._problem, self.rules.problem]))

    def start(self) -> None:
        """Begin to follow the catalogue."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join()

    def of(self, model: CheckoutModel) -> ShelfView:
        """Return what a model may show now. The first call for a model takes longer than the next calls."""
        shown = self._shown
        view = shown.views.get(model)
        if view is None:
            view = self._make_view(model, shown.snapshot)
            with self._lock:
                view = shown.views.setdefault(model, view)
        return view

    def _make_view(self, model: CheckoutModel, snapshot: Snapshot | None) -> ShelfView:
        view = ShelfView(model.items, model.index, snapshot)
        self.rules.prepare(view)
        return view

    def look(self) -> None:
        """Read the catalogue if it has changed. The thread calls this at every poll."""
        now = datetime.now(UTC)
        try:
            if not self.ready:
                self._load(now)
            kept = self._read(now)
            if kept is not None and kept is not self._kept:
                self._take(kept, now)
                self._save(kept)
        except _FAILURES as error:
            self._set_problem(f"the catalogue cannot be read{self._what_stays()}: {error}")
            return
        if kept is None and self._kept is not None:
            where = self._lake.table_url(ITEMS)
            self._set_problem(f"the table {where} is gone, or holds no row any more{self._what_stays()}")
            return
        self.ready = True
        self._looked_at = time.monotonic()
        self._set_problem("")

    def turn(self) -> None:
        """Let the rows become true whose time has come. The thread calls this at every tick."""
        now, snapshot = datetime.now(UTC), self._shown.snapshot
        if self._kept is None or snapshot is None or not snapshot.until or now < snapshot.until:
            return
        try:
            self._show(self._kept.snapshot(now))
        except _FAILURES as error:
            self._set_problem(f"the rows of the catalogue that are true since now cannot be shown: {error}")

    def _follow(self) -> None:
        due = time.monotonic()
        while not self._stopped.is_set():
            if time.monotonic() >= due:
                self.look()
                due = time.monotonic() + self._poll_seconds
            self.turn()
            self.rules.look()
            self._stopped.wait(min(TICK_SECONDS, self._poll_seconds))

    def _load(self, now: datetime) -> None:
        """Begin with the rows that a service on this machine read before."""
        try:
            if (kept := self._file.load()) is not None:
                self._take(kept, now)
        except _FAILURES as error:
            log.warning("the catalogue's file %s cannot be used: %s", self._file.path, error)

    def _read(self, now: datetime) -> KeptRows | None:
        """Return the rows of the lake; those that are kept if the table has not changed."""
        state = find_state(self._lake, ITEMS)
        if state is None:
            return None
        if self._kept is not None and state == self._kept.state:
            return self._kept
        return read_rows(self._lake, state, now)

    def _take(self, kept: KeptRows, now: datetime) -> None:
        snapshot = kept.snapshot(now)
        self._show(snapshot)
        self._kept = kept
        self.ready = True
        for_sale = int(snapshot.available.sum())
        self._on_event(
            f"catalogue: version {kept.state.version} lists {snapshot.items.num_rows:,} items, "
            f"{for_sale:,} of them for sale"
        )

    def _show(self, snapshot: Snapshot) -> None:
        """Make the views of the models in use, then replace the old views at once."""
        shown = _Shown(snapshot)
        with self._lock:
            models = list(self._shown.views)
        for model in models:
            shown.views[model] = self._make_view(model, snapshot)
        self._shown = shown

    def _save(self, kept: KeptRows) -> None:
        try:
            self._file.save(kept)
        except _FAILURES as error:
            log.warning("the catalogue's file %s cannot be written: %s", self._file.path, error)

    def _what_stays(self) -> str:
        return f"; the items of {self._kept.at:%Y-%m-%d %H:%M:%S} UTC stay" if self._kept else ""

    def _set_problem(self, problem: str) -> None:
        """Tell a problem once, not at every poll."""
        if problem and problem != self._problem:
            log.warning("%s", problem)
        elif self._problem and not problem:
            self._on_event("catalogue: it can be read again")
        self._problem = problem


def rules_of(settings: Settings) -> Rules:
    """Return the rules that the settings name.

    Raises:
        RuleError: the file of rules cannot be used.
    """
    return Rules(Path(settings.serve.rules).expanduser() if settings.serve.rules else None)
