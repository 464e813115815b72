"""What became of each version, by the ledger alone: in a word for lists, and in a sentence for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from lastaisle.registry.ledger import (
    CANARY,
    DECISIONS,
    LOST,
    PROMOTE,
    PRUNE,
    REFUSE,
    REGISTER,
    RETIRE,
    SHADOW,
    WITHDRAW,
    Move,
    Standing,
    returns,
    standing,
)

#: The gate's decision, for lists. A version that passes may become shadow or canary before it is champion.
DECIDED = {PROMOTE: "promoted", REFUSE: "refused", SHADOW: "passed: shadow", CANARY: "passed: canary"}


@dataclass(frozen=True)
class Served:
    """A time for which a version was champion.

    Attributes:
        version: the version.
        since: when it became champion (UTC).
        until: when its time ended; None = it serves still.
        began: the move that made it champion.
        ended: the move that ended its time; None = it serves still.
    """

    version: str
    since: datetime
    until: datetime | None
    began: Move
    ended: Move | None


@dataclass(frozen=True)
class Fate:
    """What became of a version.

    Attributes:
        version: its number.
        state: where it is now, in a word or two: champion, canary, shadow, replaced by 9, rolled back to 6,
            retired, refused, waits for the gate, or gone.
        sentence: the same with the move that brought it there: when, by whom and why.
        decided: the gate's newest decision on it; None if the gate has not decided.
        run_id: the MLflow run that trained it.
    """

    version: str
    state: str
    sentence: str
    decided: Move | None
    run_id: str

    @property
    def decision(self) -> str:
        """The gate's decision in a word; empty if the gate has not decided."""
        return "" if self.decided is None else DECIDED[self.decided.action]

    @property
    def told(self) -> str:
        """The state, and then the sentence."""
        return f"{self.state}. {self.sentence}"


def fates(moves: Sequence[Move]) -> dict[str, Fate]:
    """Return what became of each registered version, by version; the oldest first.

    Args:
        moves: all moves of the ledger, oldest first.
    """
    present, served = standing(moves), served_times(moves)
    times: dict[str, list[Served]] = {}
    for time in served:
        times.setdefault(time.version, []).append(time)
    about: dict[str, list[Move]] = {}
    for move in moves:
        for version in _about(move):
            about.setdefault(version, []).append(move)
    return {
        version: fate_of(version, own, times.get(version, ()), present)
        for version, own in about.items()
        if any(_is(move, REGISTER, version) for move in own)
    }


def fate_of(version: str, own: Sequence[Move], served: Sequence[Served], present: Standing) -> Fate:
    """Return what became of one version.

    Args:
        version: its number.
        own: the moves about it, oldest first; see `is_about`.
        served: the times for which it was champion, oldest first.
        present: the versions that hold the aliases now.
    """
    registered = [place for place, move in enumerate(own) if _is(move, REGISTER, version)]
    own = own[registered[-1] :] if registered else own  # a number may be registered again after a loss
    served = [time for time in served if time.since >= own[0].moved_at]
    to_it = [move for move in own if move.to_version == version]
    decided = next((move for move in reversed(to_it) if move.action in DECISIONS), None)
    state, sentence = _state(version, own, served, present, decided)
    return Fate(version, state, sentence, decided, to_it[-1].run_id if to_it else "")


def _state(
    version: str, own: Sequence[Move], served: Sequence[Served], present: Standing, decided: Move | None
) -> tuple[str, str]:
    """Say where a version is now, in a word and in a sentence."""
    last = own[-1]
    if last.action in (LOST, PRUNE) and last.to_version == version:
        return "gone", last.reason
    if served and served[-1].ended is None:
        return "champion", f"Version {version} is champion since {_when(served[-1].began)}."
    for step, holder in ((CANARY, present.canary), (SHADOW, present.shadow)):
        if holder == version:
            began = next(move for move in reversed(own) if step in (move.action, move.alias))
            return step, f"Version {version} is {step} since {_when(began)}: {began.reason}"
    return _past(version, own, served[-1].ended if served else None, decided)


def _past(version: str, own: Sequence[Move], left: Move | None, decided: Move | None) -> tuple[str, str]:
    """Say how a version ended, or that it never began; `left` ended its time as champion."""
    withdrawn = next((move for move in reversed(own) if _is(move, WITHDRAW, version)), None)
    if withdrawn is not None:
        sentence = f"Version {version} was withdrawn on {_when(withdrawn)}: {withdrawn.reason}"
        return "withdrawn", sentence
    if left is not None:
        word, how = ("rolled back to", "rolled back") if returns(left) else ("replaced by", "replaced")
        return f"{word} {left.to_version}", f"Version {version} was {how} on {_when(left)}: {left.reason}"
    ended = next((move for move in reversed(own) if _ends_step(move, version)), None)
    if ended is not None:
        state, how = ("retired", "retired")
        if ended.action != RETIRE:
            state, how = f"replaced by {ended.to_version}", "replaced"
        return state, f"Version {version} was {how} as {ended.alias} on {_when(ended)}: {ended.reason}"
    never = f"Version {version} never was champion"
    if decided is None:
        return "waits for the gate", f"{never}, and the gate has not decided on it."
    return DECIDED[decided.action], f"{never}. The gate's decision on {_when(decided)}: {decided.reason}"


def _ends_step(move: Move, version: str) -> bool:
    """Tell whether a move ends a version's time as shadow or canary, and the version is not champion."""
    replaces = move.action in (SHADOW, CANARY) and move.from_version == version != move.to_version
    return replaces or _is(move, RETIRE, version)


def _is(move: Move, action: str, version: str) -> bool:
    return (move.action, move.to_version) == (action, version)


def served_times(moves: Sequence[Move]) -> list[Served]:
    """Return the times for which each version was champion, oldest first."""
    times: list[Served] = []
    present = Standing()
    for move in moves:
        before, present = present.champion, present.after(move)
        if present.champion == before:
            continue
        if before is not None:
            times[-1] = dataclasses.replace(times[-1], until=move.moved_at, ended=move)
        if present.champion is not None:
            times.append(Served(present.champion, move.moved_at, None, move, None))
    return times


def is_about(move: Move, version: str) -> bool:
    """Tell whether a move is to a version, or takes an alias from it."""
    return version in _about(move)


def _about(move: Move) -> Iterator[str]:
    yield move.to_version
    if move.from_version not in (None, move.to_version) and move.action not in (REFUSE, REGISTER):
        yield move.from_version


def _when(move: Move) -> str:
    moved = f"{move.action} of version {move.to_version or '-'}"
    return f"{move.moved_at:%Y-%m-%d %H:%M} UTC by {move.actor} ({moved})"
