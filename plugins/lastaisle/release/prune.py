"""Delete the model versions that nothing needs any more."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lastaisle.experiments.traffic import Trial, read_traffic
from lastaisle.lake.errors import LakeUnusableError
from lastaisle.registry.ledger import PRUNE, WITHDRAW, Ledger, Move, origin_of, standing
from lastaisle.registry.lineage import Lineage
from lastaisle.release.history import until
from lastaisle.release.release import sync_aliases

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PruneReport:
    """The versions that were deleted, or would be.

    Attributes:
        model_name: name of the registered model.
        pruned: the versions.
        kept: each version that is kept, with the reason.
        dry_run: True = nothing was deleted.
    """

    model_name: str
    pruned: tuple[str, ...]
    kept: dict[str, str]
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """Return as a JSON-serialisable dict."""
        return asdict(self)


def prune(
    lake: Lake,
    registry: Registry,
    *,
    days: int,
    dry_run: bool = True,
    actor: str | None = None,
    now: datetime | None = None,
) -> PruneReport:
    """Delete the versions that no alias, no experiment and no newer row of the ledger names, with their runs.

    MLflow keeps the deleted runs until `mlflow gc`. The ledger gets a row for each version before it is
    deleted. A run that was killed is run again.

    Args:
        lake: where ledger and experiments are.
        registry: where the versions are.
        days: versions that the ledger names in so many days are kept; 0 keeps all versions.
        dry_run: only report.
        actor: the person or DAG run that asks; default the user of this process.
        now: the moment from which the days count; default the present.

    Raises:
        LakeUnusableError: the newest row of a trial in the table `traffic` cannot be read.
    """
    if not dry_run:
        sync_aliases(lake, registry)
    ledger = Ledger(lake, registry.model_name)
    moves, present = ledger.moves(), registry.all_versions()
    needed = _needed(lake, registry, moves, (now or datetime.now(UTC)) - timedelta(days=days))
    kept = {version: why for version, why in needed if version in present}
    for version in present:
        if days == 0:
            kept.setdefault(version, "LASTAISLE_KEEP_RELEASES_DAYS is 0")
        elif origin_of(moves, version) is None:
            kept.setdefault(version, "the ledger does not know it")
    pruned = tuple(version for version in present if version not in kept)
    for version in pruned if not dry_run else ():
        _delete(version, ledger, registry, actor or getpass.getuser(), days)
    return PruneReport(registry.model_name, pruned, kept, dry_run)


def _needed(
    lake: Lake, registry: Registry, moves: Sequence[Move], since: datetime
) -> Iterator[tuple[str, str]]:
    """Yield the versions that something needs, with the reason. The most important reason comes last."""
    lineage = Lineage(lake, moves)
    needed = [
        *_named_since(moves, since),
        *_in_trials(lake, since),
        *((version, f"the alias {alias}") for alias, version in registry.aliases().items()),
        *((holder, f"the alias {alias}") for alias, holder in standing(moves).aliases.items() if holder),
    ]
    for version, _ in needed:
        for start in list(lineage.line(version))[1:2]:
            yield start, f"version {version} started from it"
    yield from needed


def _named_since(moves: Sequence[Move], since: datetime) -> Iterator[tuple[str, str]]:
    """Yield the versions that the ledger names since a moment, and those that had an alias at that moment."""
    why = f"the ledger names it since {since:%Y-%m-%d}"
    older = until(moves, since)
    for version in standing(older).aliases.values():
        if version is not None:
            yield version, why
    for move in moves[len(older) :]:
        if move.action in (PRUNE, WITHDRAW):
            continue
        yield from ((version, why) for version in (move.from_version, move.to_version) if version)


def _in_trials(lake: Lake, since: datetime) -> Iterator[tuple[str, str]]:
    """Yield the versions of the trials that run, or that ended since a moment."""
    traffic = read_traffic(lake)
    if traffic.problems:
        raise LakeUnusableError(
            f"the newest row of some trials in the table traffic of {lake.url} cannot be read. Nobody knows "
            f"which versions they need, so no version was deleted: {' '.join(traffic.problems)}"
        )
    running = {trial.name for trial in traffic.running()}
    for move in traffic.newest().values():
        if move.trial.name in running or move.moved_at >= since:
            yield from ((version, f"the trial {move.trial.name}") for version in _versions_of(move.trial))


def _versions_of(trial: Trial) -> Iterator[str]:
    for arm in trial.arms:
        if arm.version is not None:
            yield arm.version
        if arm.mix is not None and arm.mix.version is not None:
            yield arm.mix.version


def _delete(version: str, ledger: Ledger, registry: Registry, actor: str, days: int) -> None:
    """Write the row, then delete the version and its run."""
    moves = ledger.moves()
    origin = origin_of(moves, version)
    assert origin is not None, "the ledger knows it"
    if version in standing(moves).aliases.values():  # somebody returned to it meanwhile
        return
    ledger.write(
        Move(
            move_id=f"prune/{origin.run_id}/{version}",
            moved_at=datetime.now(UTC),
            actor=actor,
            action=PRUNE,
            model_name=registry.model_name,
            alias="challenger",
            from_version=standing(moves).challenger,
            to_version=version,
            reason=f"No alias, no experiment and no row of the last {days} days names version {version}.",
            run_id=origin.run_id,
            run_key=origin.run_key,
        )
    )
    registry.delete_version(version)
    if registry.has_run(origin.run_id):
        registry.delete_run(origin.run_id)
    logger.info("Version %s of %s is deleted", version, registry.model_name)
