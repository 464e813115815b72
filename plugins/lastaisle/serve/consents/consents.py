"""The decisions of shoppers as the service knows them now."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
from deltalake.exceptions import DeltaError

from lastaisle.errors import LastaisleError
from lastaisle.lake.lake import Lake
from lastaisle.lake.reader import LakeReader
from lastaisle.lake.tables import CONSENTS
from lastaisle.privacy.consents import Decision, Purpose, rows_of
from lastaisle.serve.consents.followed import TableState, may_have_changed, read_new
from lastaisle.serve.consents.refusals import Refusals, rank_of
from lastaisle.web.refusal import StorageError

FOLLOWED: Final[tuple[Purpose, ...]] = ("personalization", "analytics")
"""The purposes that a service asks for: personal lists, and feedback that is kept."""
UNKNOWN: Final = "unknown"
"""The reason why no list is personal: the service does not know yet who refuses."""
WITHDRAWN: Final = "withdrawn"
SURE_SECONDS: Final = 10.0
"""So often the table itself is asked, and not only the names of its files."""
OWN_SECONDS: Final = 60.0
"""So long the decisions that this service took count beside the table, until each read surely holds them."""
_MICROSECONDS: Final = 1_000_000
_FAILURES: Final = (LastaisleError, DeltaError, OSError, ValueError, KeyError, TypeError, pa.ArrowException)

log = logging.getLogger(__name__)


@dataclass
class _Waiting:
    """Decisions that wait for the next commit, and who waits for them."""

    rows: pa.Table
    decisions: Sequence[Decision] = field(repr=False)
    done: asyncio.Future[None]


class Consents:
    """Follows the table `consents` in a thread of its own, and adds decisions to it.

    A decision of another process is honoured at the next look. A decision that this service takes is durable
    and honoured before its answer. While the table cannot be read, the last known decisions go on; before it
    was read for the first time, everybody counts as refusing.

    Args:
        lake: where the table is. A service never makes a lake.
        poll_seconds: how often to look.
    """

    def __init__(self, lake: LakeReader, poll_seconds: float) -> None:
        self._lake = lake
        self._poll_seconds = poll_seconds
        self._refusals: dict[Purpose, Refusals] = {purpose: Refusals() for purpose in FOLLOWED}
        self._state: TableState | None = None
        self._is_known = False
        self._has_looked = threading.Event()
        self._looked_at: float | None = None
        self._asked_at = 0.0
        self._problem = ""
        self._honoured: deque[tuple[float, Decision]] = deque()
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None
        self._service, self._sequence = f"service-{secrets.token_hex(8)}", 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="consents", daemon=True)

    @property
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""
        if self._thread.ident and not self._thread.is_alive() and not self._stopped.is_set():
            return "the thread that follows the consents has ended: restart the service; its log says why"
        return self._problem

    @property
    def age_seconds(self) -> float | None:
        """How long ago the lake last said who refuses; None if it never did."""
        return None if self._looked_at is None else time.monotonic() - self._looked_at

    @property
    def has_looked(self) -> bool:
        """Whether the first look has ended, well or not."""
        return self._has_looked.is_set()

    def __len__(self) -> int:
        """Return how many decisions are held in memory."""
        return sum(map(len, self._refusals.values()))

    def start(self) -> None:
        """Begin to follow the table."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join(timeout=5)

    def refusal(self, pseudonyms: Collection[str], *purposes: Purpose) -> str:
        """Return why a purpose is refused: WITHDRAWN or UNKNOWN; empty if none is.

        Args:
            pseudonyms: those of the shopper and of the visit, as far as they are known.
            *purposes: the purposes; one refusal is enough.
        """
        if not self._is_known:
            return UNKNOWN
        is_refused = any(name in self._refusals[purpose] for purpose in purposes for name in pseudonyms)
        return WITHDRAWN if is_refused else ""

    async def record(self, decisions: Sequence[Decision], key_version: int | None) -> None:
        """Add decisions to the table; return when they are durable and honoured here.

        Decisions that come while a commit runs share the next commit.

        Args:
            decisions: the decisions.
            key_version: the version of the key that made the pseudonyms; None if nobody knows it.

        Raises:
            ConsentError: a decision lies in the future.
            StorageError: the decisions are not durable.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(rows_of(decisions, key_version), decisions, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await done

    def look(self) -> None:
        """Read what is new. The thread calls this at every poll."""
        try:
            is_due = time.monotonic() - self._asked_at >= SURE_SECONDS
            if not self._is_known or is_due or may_have_changed(self._lake, self._state):
                self._read()
                self._asked_at = time.monotonic()
            self._looked_at = time.monotonic()
            self._set_problem("")
        except _FAILURES as error:
            known = "the last known decisions go on" if self._is_known else "no list is personal until then"
            self._set_problem(f"the consents cannot be read; {known}: {error}")
        self._has_looked.set()

    def _read(self) -> None:
        began = time.monotonic()
        found = read_new(self._lake, self._state, FOLLOWED)
        for purpose, parts in found.parts.items():
            if parts or found.anew:
                self._refusals[purpose].extend(parts, anew=found.anew)
        if found.anew:  # a version that was read may be older than the decisions that were honoured meanwhile
            self._add(
                [decision for moment, decision in tuple(self._honoured) if moment >= began - OWN_SECONDS]
            )
        self._state, self._is_known = found.state, True

    def _follow(self) -> None:
        while not self._stopped.is_set():
            self.look()
            self._stopped.wait(self._poll_seconds)

    async def _write(self) -> None:
        """Write what waits, commit by commit, until nothing waits."""
        while self._waiting:
            taken, self._waiting = self._waiting, []
            problem: Exception | None = None
            try:
                await asyncio.to_thread(self._commit, pa.concat_tables([each.rows for each in taken]))
            except _FAILURES as error:
                log.warning("decisions about consent cannot be written: %s", error)
                problem = StorageError("the decision is not durable: the lake cannot be written; try again")
            except Exception as error:  # each caller hears of it, and none waits for ever
                problem = error
            for each in taken:
                if problem is None:
                    self._honour(each.decisions)
                if each.done.done():  # its caller is gone
                    continue
                if problem is None:
                    each.done.set_result(None)
                else:
                    each.done.set_exception(problem)

    def _commit(self, rows: pa.Table) -> None:
        if not isinstance(self._lake, Lake):
            raise LastaisleError("this process may only read the lake")
        if "://" not in self._lake.url and not Path(self._lake.url).exists():
            raise FileNotFoundError(f"there is no lake at {self._lake.url}")
        self._sequence += 1  # a number is used once, also where nobody knows whether its commit arrived
        self._lake.append(CONSENTS, rows, key=self._service, stamp=self._sequence, is_numbered=True)

    def _honour(self, decisions: Sequence[Decision]) -> None:
        """Let decisions count at once, before the next look finds them in the table."""
        now = time.monotonic()
        while self._honoured and self._honoured[0][0] < now - 2 * OWN_SECONDS:
            self._honoured.popleft()
        self._honoured.extend((now, each) for each in decisions)
        self._add(decisions)

    def _add(self, decisions: Sequence[Decision]) -> None:
        for each in decisions:
            if each.purpose in self._refusals:
                rank = rank_of(round(each.at.timestamp() * _MICROSECONDS), each.granted)
                self._refusals[each.purpose].add({each.user_id or each.session_id or "": rank})

    def _set_problem(self, problem: str) -> None:
        """Tell a problem once, not at every look."""
        if problem and problem != self._problem:
            log.warning("%s", problem)
        elif self._problem and not problem:
            log.warning("solved: %s", self._problem)
        self._problem = problem
