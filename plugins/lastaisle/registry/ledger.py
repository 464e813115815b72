"""The ledger: every move of a model version, written before the move is made.

The ledger alone decides which version serves; the registry's aliases follow it. After a kill between the two,
the next run reads the ledger and sets the aliases. A version that was deleted from the registry can no longer
serve: the ledger then gets a row that says so (see lastaisle.registry.losses).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake.errors import LakeConflictError
from lastaisle.lake.retries import ATTEMPTS, retry_overtaken
from lastaisle.lake.tables import RELEASES, RELEASES_SCHEMA
from lastaisle.registry.chain import CHAIN, ENTRY, ChainCheck, check_chain, end_of, link

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

REGISTER, PROMOTE, REFUSE, ROLLBACK = "register", "promote", "refuse", "rollback"
LOST, ANCHOR = "lost", "anchor"
SHADOW, CANARY, RETIRE = "shadow", "canary", "retire"
#: An alias that somebody moved in MLflow: either put back, or adopted.
MOVED_BY_HAND, ADOPT = "moved_by_hand", "adopt"
#: A version that nothing needs was deleted.
PRUNE = "prune"
#: A version lost every alias but champion, because it learned from shoppers who were erased.
WITHDRAW = "withdraw"
#: The actor of such a move: MLflow does not say who moves an alias.
UNKNOWN = "unknown"
#: What the gate decides. A candidate that passes becomes champion; where there are steps, shadow or canary.
DECISIONS = (PROMOTE, REFUSE, SHADOW, CANARY)
#: The key under which the table's log says which entry was written last.
NEWEST: Final = "newest entry"


class LedgerConflictError(LastaisleError):
    """A move that was decided before another move changed the aliases."""

    exit_code = ExitCode.OVERTAKEN


@dataclass(frozen=True)
class Move:
    """One row of the ledger.

    Attributes:
        move_id: names the move; the same move written twice is one row.
        moved_at: when the move was decided, UTC.
        actor: the person or DAG run that decided it.
        action: register, promote, refuse, rollback, anchor, shadow, canary, retire (a shadow or a canary ends
            and does not become champion), lost (the version is gone from the registry), moved_by_hand
            (somebody moved the alias in MLflow, and it was put back), adopt (it was not put back), prune
            (nothing needed the version, and it was deleted), or withdraw (the version learned from shoppers
            who were erased, and lost its aliases).
        model_name: name of the registered model.
        alias: the alias that moves (challenger, champion, anchor, shadow or canary); for a refusal the alias
            that stays.
        from_version: the version that had the alias; None = there was none.
        to_version: the version that has the alias afterwards; for a refusal the refused version, for a loss
            the lost version, and for a retirement the retired version. Of moved_by_hand the version that had
            the alias in MLflow; empty if the alias was removed.
        reason: why, in sentences.
        run_id: the MLflow run of `to_version`.
        run_key: the training of `to_version`.
        digest: of a registration, the SHA-256 over the files of the version (models.stored.digest_of); None
            for other moves, and in rows of older releases.
        decision: of a decision of the gate, its checks as JSON (lastaisle.release.gate.Decision); None for
            other moves, and in rows of older releases.
    """

    move_id: str
    moved_at: datetime
    actor: str
    action: str
    model_name: str
    alias: str
    from_version: str | None
    to_version: str
    reason: str
    run_id: str
    run_key: str
    digest: str | None = None
    decision: str | None = None


_COLUMNS = frozenset(field.name for field in dataclasses.fields(Move))


@dataclass(frozen=True)
class Standing:
    """The versions that hold the aliases after the moves of a ledger.

    Attributes:
        challenger: the version registered last.
        champions: the versions that became champion, oldest first; the last serves. A rollback to one of
            them removes the versions after it, so that a second rollback does not return to a version that
            people have just left. A rollback to another version, such as a refused version, puts that
            version on top: `previous` is then the version that served before.
        anchor: the version with which the gate compares every candidate beside the champion; see
            lastaisle.release.anchor. None before its first move, and in ledgers of older releases. A rollback
            to a version before the anchor moves the anchor to that version.
        shadow: the version that scores live requests unseen; see lastaisle.release.steps.
        canary: the version that answers a share of the requests. A version has at most one of the aliases
            shadow, canary and champion.
    """

    challenger: str | None = None
    champions: tuple[str, ...] = ()
    anchor: str | None = None
    shadow: str | None = None
    canary: str | None = None

    @property
    def champion(self) -> str | None:
        """The version that serves."""
        return self.champions[-1] if self.champions else None

    @property
    def previous(self) -> str | None:
        """The version that a rollback returns to by default."""
        return self.champions[-2] if len(self.champions) > 1 else None

    @property
    def aliases(self) -> dict[str, str | None]:
        """Alias to version; None = no version holds it."""
        return {
            "challenger": self.challenger,
            "champion": self.champion,
            "previous": self.previous,
            "anchor": self.anchor,
            "shadow": self.shadow,
            "canary": self.canary,
        }

    def after(self, move: Move) -> Standing:
        """Return the standing after one more move."""
        version, present = move.to_version, self
        if move.action in (PROMOTE, CANARY, RETIRE, LOST, PRUNE, WITHDRAW) or returns(move):
            present = self._without_steps(version)
        changes: dict[str, Any] = {}
        if move.action == REGISTER:
            changes["challenger"] = version
        elif move.action in (ANCHOR, SHADOW, CANARY):
            changes[move.action] = version
        elif move.action == PROMOTE:
            changes["champions"] = _without(self.champions, version)
        elif returns(move):
            changes = self._rolled_back(version)
        elif move.action == ADOPT:
            changes[move.alias] = version
        elif move.action in (LOST, PRUNE, WITHDRAW):
            serves = self.champion if move.action == WITHDRAW else None  # it gives way by a rollback alone
            changes = {
                "challenger": None if self.challenger == version else self.challenger,
                "champions": tuple(each for each in self.champions if each != version or each == serves),
                "anchor": None if self.anchor == version else self.anchor,
            }
        return dataclasses.replace(present, **changes)

    def _without_steps(self, version: str) -> Standing:
        """Return the standing in which a version is neither shadow nor canary."""
        return dataclasses.replace(
            self,
            shadow=None if self.shadow == version else self.shadow,
            canary=None if self.canary == version else self.canary,
        )

    def _rolled_back(self, version: str) -> dict[str, Any]:
        """Return the champions and the anchor after a rollback to a version."""
        kept = (*self.champions, version)
        if version in self.champions:
            kept = self.champions[: self.champions.index(version) + 1]
        gone = self.anchor in self.champions and self.anchor not in kept
        return {"champions": kept, "anchor": version if gone else self.anchor}


def _without(champions: tuple[str, ...], version: str) -> tuple[str, ...]:
    """Put a version on top, once."""
    return (*(champion for champion in champions if champion != version), version)


def returns(move: Move) -> bool:
    """Tell whether people made a version champion: by a rollback, or by an alias that was adopted."""
    return move.action == ROLLBACK or (move.action, move.alias) == (ADOPT, "champion")


def origin_of(moves: Sequence[Move], version: str) -> Move | None:
    """Return the newest move of a version; it names the version's run."""
    own = (move for move in reversed(moves) if move.to_version == version and move.action != MOVED_BY_HAND)
    return next(own, None)


def promoted_versions(moves: Iterable[Move]) -> frozenset[str]:
    """Return the versions that the gate ever promoted, since their number was registered last."""
    promoted = set[str]()
    for move in moves:
        if move.action == PROMOTE:
            promoted.add(move.to_version)
        elif move.action == REGISTER:
            promoted.discard(move.to_version)
    return frozenset(promoted)


def refusal_of(moves: Sequence[Move], version: str) -> Move | None:
    """Return the newest refusal of a version; None if the gate did not refuse it."""
    refusals = (move for move in reversed(moves) if (move.action, move.to_version) == (REFUSE, version))
    return next(refusals, None)


def rolled_back_versions(moves: Iterable[Move]) -> dict[str, Move]:
    """Return each version that a rollback took out of service, with that rollback.

    A version that became champion again, or whose number was registered again, is no longer among them.
    """
    before, rollbacks = Standing(), dict[str, Move]()
    for move in moves:
        after = before.after(move)
        if returns(move):
            left = {*before.champions, move.from_version} - {*after.champions} | {move.from_version}
            rollbacks |= {version: move for version in left if version is not None}
        if move.action in (REGISTER, PROMOTE) or returns(move):
            rollbacks.pop(move.to_version, None)
        before = after
    return rollbacks


def decision_on(moves: Iterable[Move], run_id: str) -> Move | None:
    """Return the newest decision on the candidate of a run; None if there is none, or its version is lost."""
    decision = None
    for move in moves:
        if move.run_id == run_id and move.action in DECISIONS:
            decision = move
        elif move.run_id == run_id and move.action == LOST:
            decision = None
    return decision


def standing(moves: Iterable[Move]) -> Standing:
    """Return the standing after all moves, oldest first."""
    result = Standing()
    for move in moves:
        result = result.after(move)
    return result


class Ledger:
    """The rows of one model in the table `releases`.

    Args:
        lake: where the table is.
        model_name: name of the registered model.
    """

    def __init__(self, lake: Lake, model_name: str) -> None:
        self.lake = lake
        self._model_name = model_name

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of all models, oldest first."""
        rows: list[dict[str, Any]] = self.lake.scan(RELEASES).to_pylist()
        return sorted(rows, key=lambda row: int(row[ENTRY]))

    def moves(self) -> tuple[Move, ...]:
        """Return all moves, oldest first."""
        return self._moves_in(self.rows())

    def numbered_moves(self) -> list[tuple[int, Move]]:
        """Return all moves with the numbers of their rows, oldest first."""
        rows = [row for row in self.rows() if row["model_name"] == self._model_name]
        return [(int(row[ENTRY]), move) for row, move in zip(rows, self._moves_in(rows), strict=True)]

    def _moves_in(self, rows: Iterable[Mapping[str, Any]]) -> tuple[Move, ...]:
        """Return the moves of this model. Columns of newer releases are left out."""
        return tuple(
            Move(**{name: value for name, value in row.items() if name in _COLUMNS})
            for row in rows
            if row["model_name"] == self._model_name
        )

    def check(self) -> ChainCheck:
        """Tell whether the rows are those that were written."""
        return check_chain(self.rows(), self.lake.stamp(RELEASES, NEWEST))

    def find(self, move_id: str) -> Move | None:
        """Return the move of this id, if it was written."""
        return next((move for move in self.moves() if move.move_id == move_id), None)

    def digest_of(self, version: str) -> str | None:
        """Return the digest with which a version was registered last; None if the ledger has none."""
        digests = [
            move.digest for move in self.moves() if (move.action, move.to_version) == (REGISTER, version)
        ]
        return digests[-1] if digests else None

    def standing(self) -> Standing:
        """Return the versions that hold the aliases."""
        return standing(self.moves())

    def write(self, move: Move) -> bool:
        """Write a move, exactly once by its move_id; False = it was written before.

        Rows are numbered in the order of their commits (`entry`). If another process wrote a move meanwhile
        that left the alias where it was, this move comes after it.

        Raises:
            LedgerConflictError: the alias has moved since the move was decided.
            LakeConflictError: other writers won every attempt.
        """
        lost = f"{move.move_id}: other writers won {ATTEMPTS} attempts to write into the ledger; run again"
        return bool(retry_overtaken(lost, LakeConflictError)(lambda: self._write(move)))

    def _write(self, move: Move) -> bool:
        """Try once to write a move.

        Raises:
            LakeConflictError: another writer came between.
        """
        version = self.lake.version(RELEASES)
        rows = self.rows()
        moves = self._moves_in(rows)
        if any(written.move_id == move.move_id for written in moves):
            return False
        holder = standing(moves).aliases[move.alias]
        if holder != move.from_version:
            raise LedgerConflictError(
                f"{move.move_id} was to move {move.alias} of {move.model_name} from version "
                f"{move.from_version}, but version {holder} holds it now: run again to decide on that"
            )
        at = -1 if version is None else version
        entry = max(at, *(row[ENTRY] for row in rows[-1:]), -1) + 1  # a copied table starts its versions anew
        row = {ENTRY: entry, **dataclasses.asdict(move)}
        row[CHAIN] = link(end_of(rows), row)
        return self.lake.append(
            RELEASES,
            pa.Table.from_pylist([row], schema=RELEASES_SCHEMA),
            key=f"{move.model_name}/{move.move_id}",
            also={NEWEST: entry},
            if_version=at,
        )
