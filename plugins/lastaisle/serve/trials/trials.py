"""The trials that run now: which arm a request belongs to."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from lastaisle.errors import LastaisleError
from lastaisle.experiments.bandits.live import LiveBandit
from lastaisle.experiments.traffic import SHADOW, Trial
from lastaisle.feedback.origin import origin_of
from lastaisle.lake.opening import open_lake
from lastaisle.lake.tables import TRAFFIC
from lastaisle.serve.trials.assigned import Assigned
from lastaisle.serve.trials.followed import KnownTraffic, TrafficFile, read_known
from lastaisle.serve.trials.ready import ReadyTrial, versions_of
from lastaisle.serve.trials.versions import ArmVersions, NoVersions

if TYPE_CHECKING:
    from lastaisle.serve.following.served import ServedVersion
    from lastaisle.serve.parts import Versions
    from lastaisle.serve.questions import Asked
    from lastaisle.settings import Settings

_FAILURES: Final = (LastaisleError, OSError, ValueError, KeyError, TypeError, pa.ArrowException)
_RANDOM: Final = random.Random()  # digits need to be unlike, not secret

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Taken:
    """A running trial; it takes requests also while it is not ready, so that no other trial gets them."""

    trial: Trial
    move_id: str
    ready: ReadyTrial | None


class Trials:
    """Follows the table `traffic` in a thread of its own, and assigns requests to the arms of trials.

    A trial takes effect when all versions of its arms are loaded. Until then its shoppers get the champion,
    and their lists do not name the trial. A trial that ends is gone at most one poll later.

    While the lake cannot be read, the last known trials go on, in memory and in a file on this machine's
    disk.

    Args:
        settings: names the lake, the folder of the file, and how often to look.
        versions: the version that answers beside all trials.
        arms: the further versions that arms need.
        on_event: gets a line of text about each change.
    """

    def __init__(
        self,
        settings: Settings,
        versions: Versions,
        arms: ArmVersions | NoVersions,
        *,
        on_event: Callable[[str], None] = log.info,
    ) -> None:
        self._lake = open_lake(settings)
        self._file = TrafficFile(Path(settings.serve.cache).expanduser(), self._lake.url)
        self._poll_seconds = settings.serve.traffic_poll_seconds
        self._champion = versions
        self._versions = arms
        arms.add_listener(self._refresh)
        self._on_event = on_event
        self._known: KnownTraffic | None = None
        self._running: tuple[_Taken, ...] = ()
        self._shadow: Trial | None = None
        self._problem = ""
        self._trial_problems: tuple[str, ...] = ()
        self._looked_at: float | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="traffic", daemon=True)

    @property
    def problem(self) -> str:
        """What is wrong with the table, with a trial or with a version of an arm; empty if nothing is."""
        if self._thread.ident and not self._thread.is_alive() and not self._stopped.is_set():
            return "the thread that follows the trials has ended: restart the service; its log says why"
        return "; ".join(filter(None, [self._problem, *self._trial_problems, *self._versions.problems]))

    @property
    def age_seconds(self) -> float | None:
        """How long ago the lake last said which trials run; None if it never did."""
        return None if self._looked_at is None else time.monotonic() - self._looked_at

    def start(self) -> None:
        """Begin to follow the trials."""
        self._versions.start()
        self._thread.start()

    def stop(self) -> None:
        """End the threads."""
        self._stopped.set()
        self._versions.stop()
        if self._thread.ident:
            self._thread.join(timeout=5)

    def shadow(self) -> Trial | None:
        """Return the shadow that runs now; None without one. A process of its own loads its version."""
        shadow, now = self._shadow, datetime.now(UTC)
        if shadow is None or now < shadow.starts_at or (shadow.stops_at and now >= shadow.stops_at):
            return None
        return shadow

    def assign(self, question: Asked, skip: Callable[[str], None]) -> Assigned | None:
        """Return the arm of a request; None if it belongs to no trial. Only the event loop may call this.

        A request without consent, without a shopper or a visit, or with a policy of its own belongs to none.

        Args:
            question: the request.
            skip: is called with the name of a trial that would take the request and is not ready.
        """
        running, unit = self._running, question.unit
        if not running or unit is None or question.has_policy or not question.consent:
            return None
        now = datetime.now(UTC)
        for taken in running:
            if not taken.trial.takes(unit, question.placement, question.context, now):
                continue
            if taken.ready is None:
                skip(taken.trial.name)
                return None
            assigned = taken.ready.assign(unit, question.context, now, f"{_RANDOM.getrandbits(96):024x}")
            if assigned is not None:
                return assigned
        return None

    def note(self, kind: str, recommendation_id: str) -> None:
        """Let a running bandit learn from feedback. Only the event loop may call this.

        Args:
            kind: what happened to items of the list.
            recommendation_id: the id of the list.
        """
        bandits = [taken.ready for taken in self._running if taken.ready is not None and taken.trial.bandit]
        if not bandits or (origin := origin_of(recommendation_id)) is None or origin.label is None:
            return
        for ready in bandits:
            if ready.trial.name == origin.label.experiment:
                ready.note(kind, recommendation_id, origin.label)

    def look(self) -> None:
        """Read the table if it has changed. The thread calls this at every poll."""
        try:
            known = read_known(self._lake, self._known)
        except _FAILURES as error:
            self._set_problem(f"the trials cannot be read; the last known trials go on: {error}")
        else:
            if known is None and self._known is not None:
                where = self._lake.table_url(TRAFFIC)
                self._set_problem(f"the table {where} is gone; the last known trials go on")
            else:
                self._take(known)
                self._looked_at = time.monotonic()
                self._set_problem("")
        self._refresh()

    def _follow(self) -> None:
        self._load()
        while not self._stopped.is_set():
            self.look()
            self._stopped.wait(self._poll_seconds)

    def _load(self) -> None:
        """Begin with the trials that a service on this machine read before."""
        try:
            self._known = self._file.load()
        except _FAILURES as error:
            log.warning("the file of trials %s cannot be used: %s", self._file.path, error)
        self._refresh()

    def _take(self, known: KnownTraffic | None) -> None:
        if known is None or known is self._known:
            return
        self._known = known
        try:
            self._file.save(known)
        except OSError as error:
            log.warning("the file of trials %s cannot be written: %s", self._file.path, error)

    def _refresh(self) -> None:
        """Put the trials beside the versions that are loaded; both threads may call this."""
        with self._lock:
            self._put_together()

    def _put_together(self) -> None:
        if self._known is None:
            return
        now, champion = datetime.now(UTC), self._champion.current
        newest, problems = self._known.log.newest(), list(self._known.log.problems)
        trials = [one for one in self._known.log.running() if one.stops_at is None or now < one.stops_at]
        self._shadow = self._shadow_of(trials, problems)
        trials = [trial for trial in trials if trial.kind != SHADOW]
        missing = set(self._versions.want([n for trial in trials for n in versions_of(trial)], champion))
        before = {taken.move_id: taken.ready for taken in self._running}
        running: list[_Taken] = []
        for trial in trials:
            move_id = newest[trial.name].move_id
            if lacking := missing.intersection(versions_of(trial)):
                problems.append(self._lacking(trial, lacking))
            versions, ready = self._loaded(trial, champion), before.get(move_id)
            if ready is not None and versions is not None:
                ready.versions = versions
            elif versions is not None:
                ready = ReadyTrial(trial, versions, LiveBandit(trial) if trial.bandit else None)
            running.append(_Taken(trial, move_id, ready))
        self._tell_changes(running)
        self._running, self._trial_problems = tuple(running), tuple(problems)

    def _shadow_of(self, trials: Sequence[Trial], problems: list[str]) -> Trial | None:
        """Return the shadow that began last, where its version can be had; else name the problem."""
        shadows = sorted((one for one in trials if one.kind == SHADOW), key=lambda one: one.starts_at)
        if shadows and isinstance(self._versions, NoVersions):
            problems.append(self._lacking(shadows[-1], [*versions_of(shadows[-1])]))
            return None
        return shadows[-1] if shadows else None

    def _loaded(self, trial: Trial, champion: ServedVersion | None) -> dict[str, ServedVersion] | None:
        """Return the versions of a trial; None as long as one is missing."""
        versions = {}
        for number in versions_of(trial):
            served = self._versions.get(number)
            if served is None and champion is not None and champion.version == number:
                served = champion
            if served is None:
                return None
            versions[number] = served
        return versions

    def _lacking(self, trial: Trial, numbers: Collection[str]) -> str:
        named = ", ".join(sorted(numbers))
        return f"the trial {trial.name} does not run here: it needs version {named}, and {self._versions.why}"

    def _tell_changes(self, running: Sequence[_Taken]) -> None:
        """Tell of each trial that begins, waits or ends here; a bandit that has learned is not new."""
        before = {taken.trial.name: taken.ready is not None for taken in self._running}
        now = {taken.trial.name: taken.ready is not None for taken in running}
        for name, is_ready in now.items():
            if before.get(name) != is_ready:
                state = "runs" if is_ready else "waits for the versions of its arms"
                self._on_event(f"the trial {name} {state}")
        for name in before.keys() - now.keys():
            self._on_event(f"the trial {name} has ended")

    def _set_problem(self, problem: str) -> None:
        """Tell a problem once, not at every poll."""
        if problem and problem != self._problem:
            log.warning("%s", problem)
        elif self._problem and not problem:
            self._on_event("trials: the lake can be read again")
        self._problem = problem
