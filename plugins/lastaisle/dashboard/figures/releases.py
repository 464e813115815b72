"""The ledger as the pages show it: each version with its decision and its fate, and every move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from lastaisle.dashboard.shown import first_sentence
from lastaisle.lake.tables import RELEASES
from lastaisle.registry.ledger import (
    ADOPT,
    ANCHOR,
    CANARY,
    DECISIONS,
    LOST,
    MOVED_BY_HAND,
    PROMOTE,
    PRUNE,
    REFUSE,
    REGISTER,
    RETIRE,
    ROLLBACK,
    SHADOW,
    WITHDRAW,
    Ledger,
    Move,
    Standing,
    rolled_back_versions,
    standing,
)
from lastaisle.release.fate import Served, served_times

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source
    from lastaisle.registry.chain import ChainCheck

WORDS: Final = {
    ADOPT: "adopted",
    ANCHOR: "anchor",
    CANARY: "canary",
    LOST: "lost",
    MOVED_BY_HAND: "moved by hand",
    PROMOTE: "promoted",
    PRUNE: "deleted",
    REFUSE: "refused",
    REGISTER: "registered",
    RETIRE: "retired",
    ROLLBACK: "rolled back to",
    SHADOW: "shadow",
    WITHDRAW: "withdrawn",
}
"""The actions of moves as people read them."""
_ALIASES: Final = ("champion", "previous", "shadow", "canary", "anchor")
_GONE: Final = {LOST: "gone from MLflow", PRUNE: "deleted", RETIRE: "retired"}


@dataclass(frozen=True)
class Version:
    """A version in the list of versions.

    Attributes:
        number: its number.
        registered_at: when it was registered; None if the ledger does not say.
        run_id: the run that trained it.
        verdict: the gate's decision: promote, refuse, shadow or canary; None if there is none yet.
        headline: the first sentence of the decision.
        fate: where the version is now, in a few words.
        served: the times for which it was champion.
    """

    number: str
    registered_at: datetime | None
    run_id: str
    verdict: str | None
    headline: str
    fate: str
    served: tuple[Served, ...]

    def served_for(self, now: datetime) -> timedelta | None:
        """Return for how long it was champion; None if it never was."""
        lengths = [(time.until or now) - time.since for time in self.served]
        return sum(lengths, timedelta()) if lengths else None


@dataclass(frozen=True)
class Releases:
    """The ledger.

    Attributes:
        moves: all moves with the numbers of their rows, newest first.
        versions: all versions, newest first.
        standing: the versions that hold the aliases.
        chain: whether the rows are those that were written.
        table_version: the version of the table that was read.
    """

    moves: tuple[tuple[int, Move], ...]
    versions: tuple[Version, ...]
    standing: Standing
    chain: ChainCheck
    table_version: int | None

    def version(self, number: str) -> Version | None:
        """Return a version by its number; None if the ledger does not know it."""
        return next((one for one in self.versions if one.number == number), None)


def read_releases(source: Source) -> Releases:
    """Return the ledger; it is read once for each version of its table."""
    return source.once("releases", [RELEASES], lambda: _read(source))


def _read(source: Source) -> Releases:
    at = source.lake.version(RELEASES)
    ledger = Ledger(source.lake, source.settings.registry.model_name)
    numbered = ledger.numbered_moves()
    moves = [move for _, move in numbered]
    return Releases(
        moves=tuple(reversed(numbered)),
        versions=_versions(moves),
        standing=standing(moves),
        chain=ledger.check(),
        table_version=at,
    )


def _versions(moves: Sequence[Move]) -> tuple[Version, ...]:
    """Return each version once, the newest first."""
    own: dict[str, list[Move]] = {}
    for move in moves:
        if move.to_version and move.action != MOVED_BY_HAND:
            own.setdefault(move.to_version, []).append(move)
    served: dict[str, list[Served]] = {}
    for time in served_times(moves):
        served.setdefault(time.version, []).append(time)
    present, rolled_back = standing(moves), rolled_back_versions(moves)
    found = []
    for number in sorted(own, key=_order, reverse=True):
        registered = next((move for move in reversed(own[number]) if move.action == REGISTER), None)
        decision = next((move for move in reversed(own[number]) if move.action in DECISIONS), None)
        times = tuple(served.get(number, ()))
        found.append(
            Version(
                number=number,
                registered_at=registered.moved_at if registered else None,
                run_id=own[number][-1].run_id,
                verdict=decision.action if decision else None,
                headline=first_sentence(decision.reason) if decision else "",
                fate=_held(number, present)
                or ("rolled back" if number in rolled_back else "")
                or _past(own[number][-1], decision, times),
                served=times,
            )
        )
    return tuple(found)


def _held(number: str, present: Standing) -> str:
    """Return the aliases that bring a version requests, or may bring it back."""
    aliases = present.aliases
    return ", ".join(alias for alias in _ALIASES if aliases[alias] == number)


def _past(last: Move, decision: Move | None, served: Sequence[Served]) -> str:
    """Say why a version has none of these aliases."""
    if last.action in _GONE:
        return _GONE[last.action]
    if served:
        return "replaced"
    if decision is None:
        return "not decided yet"
    return "refused" if decision.action == REFUSE else "never was champion"


def _order(number: str) -> tuple[int, str]:
    return (int(number) if number.isdigit() else 0, number)
