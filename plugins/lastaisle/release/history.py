"""Read the ledger: which version served when, and why a version is where it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeVar

from lastaisle.errors import RegistryError
from lastaisle.experiments.traffic import TrafficMove, read_traffic
from lastaisle.registry.ledger import DECISIONS, REGISTER, Ledger, Move, standing
from lastaisle.registry.lineage import Lineage
from lastaisle.release.decisions import stored_decision
from lastaisle.release.fate import Served, fate_of, is_about, served_times
from lastaisle.release.gate import Check, Decision

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry

M = TypeVar("M", Move, TrafficMove)


@dataclass(frozen=True)
class Then:
    """What served at a moment.

    Attributes:
        moment: the moment (UTC).
        aliases: alias to version; None = no version had the alias.
        champion: the version that served, and since when; None = no version served.
        trials: the experiments, bandits, canaries and shadows that ran, by name: the version of each arm.
    """

    moment: datetime
    aliases: dict[str, str | None]
    champion: Served | None
    trials: dict[str, dict[str, str | None]]

    def to_dict(self) -> dict[str, Any]:
        """Return as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Story:
    """What the ledger knows of a version.

    Attributes:
        version: its number.
        registered: its registration; None for a version that the ledger got to know in another way.
        line: the versions that it learned on from, the nearest first.
        checks: the rules by which the gate decided; empty if the gate has not decided.
        verdict: promote, refuse, shadow or canary; None if the gate has not decided.
        moves: all moves to the version or away from it, oldest first.
        served: the times for which it was champion.
        outcome: one sentence that says where it is now.
        aliases: the aliases that it has.
    """

    version: str
    registered: Move | None
    line: tuple[str, ...]
    checks: tuple[Check, ...]
    verdict: str | None
    moves: tuple[Move, ...]
    served: tuple[Served, ...]
    outcome: str
    aliases: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return as JSON takes it."""
        return asdict(self)


def moves_since(ledger: Ledger, since: datetime | None = None, version: str | None = None) -> list[Move]:
    """Return the moves since a moment, and of one version only if one is named; oldest first."""
    return [
        move
        for move in ledger.moves()
        if (since is None or move.moved_at >= since) and (version is None or is_about(move, version))
    ]


def what_served(lake: Lake, model_name: str, moment: datetime) -> Then:
    """Return the versions that had the aliases at a moment, and the trials that ran."""
    moves = until(Ledger(lake, model_name).moves(), moment)
    traffic = read_traffic(lake)
    then = dataclasses.replace(traffic, moves=tuple(until(traffic.moves, moment)))
    return Then(
        moment=moment,
        aliases=standing(moves).aliases,
        champion=next((one for one in served_times(moves) if one.until is None), None),
        trials={trial.name: {arm.name: arm.version for arm in trial.arms} for trial in then.running()},
    )


def until(moves: Sequence[M], moment: datetime) -> list[M]:
    """Return the moves that were made by a moment: none of them comes after a later move."""
    return list(takewhile(lambda move: move.moved_at <= moment, moves))


def tell(version: str, lake: Lake, model_name: str, registry: Callable[[], Registry]) -> Story:
    """Tell what the ledger knows of a version.

    Args:
        version: its number.
        lake: the lake that holds the ledger.
        model_name: name of the registered model.
        registry: opens the registry. It is asked only for a decision that the ledger does not hold, as in
            ledgers of older releases.

    Raises:
        RegistryError: the ledger does not know the version.
    """
    moves = Ledger(lake, model_name).moves()
    own = tuple(move for move in moves if is_about(move, version))
    if not own:
        known = sorted({move.to_version for move in moves if move.action == REGISTER}, key=_number)
        raise RegistryError(
            f"the ledger of {model_name} in {lake.url} has no version {version!r}; it has "
            f"{', '.join(known) or 'none'}"
        )
    decided = [move for move in own if move.action in DECISIONS and move.to_version == version]
    decision = _decision(decided[-1], registry) if decided else None
    registered = [move for move in own if move.action == REGISTER]
    served = tuple(time for time in served_times(moves) if time.version == version)
    return Story(
        version=version,
        registered=registered[-1] if registered else None,
        line=tuple(Lineage(lake, moves).line(version))[1:],
        checks=decision.checks if decision else (),
        verdict=decided[-1].action if decided else None,
        moves=own,
        served=served,
        outcome=fate_of(version, own, served, standing(moves)).sentence,
        aliases=tuple(alias for alias, holder in standing(moves).aliases.items() if holder == version),
    )


def _decision(made: Move, registry: Callable[[], Registry]) -> Decision | None:
    """Return the gate's decision, also if MLflow does not answer: newer ledgers hold the decision."""
    if made.decision is not None:
        return Decision.from_json(made.decision)
    runs = registry()
    return stored_decision(made, runs) if runs.has_run(made.run_id) else None


def _number(version: str) -> tuple[int, str]:
    return (int(version) if version.isdigit() else 0, version)
