"""Versions that are gone: the ledger names them, and the newest former champion that is left serves.

People may delete a version, its run or its artifacts in MLflow, or lose MLflow's database. Only the
answer that there is no such thing counts as a loss. An MLflow that does not answer is an error and changes
nothing. So is a folder of artifacts that is not mounted.
"""

from __future__ import annotations

import dataclasses
import getpass
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lastaisle.lake.errors import LakeConflictError
from lastaisle.registry.ledger import LOST, Ledger, LedgerConflictError, Move, Standing, origin_of, standing
from lastaisle.registry.registry import STATE

if TYPE_CHECKING:
    from lastaisle.registry.registry import Registry

ATTEMPTS = 12

logger = logging.getLogger(__name__)


def present_standing(
    ledger: Ledger, registry: Registry, *, actor: str | None = None, artifacts_gone: bool = False
) -> Standing:
    """Return the standing of the versions that exist, after writing a row for each version that is gone.

    Args:
        ledger: the moves.
        registry: where the versions are.
        actor: the person or DAG run that noticed; default the user of this process.
        artifacts_gone: count the versions as lost also if the whole folder of artifacts is missing.

    Raises:
        ArtifactsUnreachableError: MLflow's folder of artifacts is missing or empty.
        LakeConflictError: other processes wrote moves at every attempt.
    """
    for attempt in range(1, ATTEMPTS + 1):
        losses = find_losses(ledger.moves(), registry, actor or getpass.getuser(), artifacts_gone)
        try:
            for loss in losses:
                if ledger.write(loss):
                    logger.warning("%s", loss.reason)
            break
        except (LakeConflictError, LedgerConflictError):  # another process moved an alias: look again
            if attempt == ATTEMPTS:
                raise
    return ledger.standing()


def expected_standing(ledger: Ledger, registry: Registry) -> Standing:
    """Return the standing that `present_standing` would return, without writing a row."""
    moves = ledger.moves()
    return standing([*moves, *find_losses(moves, registry, getpass.getuser())])


def find_losses(
    moves: Sequence[Move], registry: Registry, actor: str, artifacts_gone: bool = False
) -> list[Move]:
    """Return the rows that the ledger lacks about versions that are gone, in the order of their writing.

    Only the versions that hold an alias are looked at. After a loss the next version gets the alias, and is
    looked at too.

    Args:
        moves: the moves of the ledger, oldest first.
        registry: where the versions are.
        actor: the person or DAG run that noticed.
        artifacts_gone: see `present_standing`.

    Raises:
        ArtifactsUnreachableError: MLflow's folder of artifacts is missing or empty.
    """
    moves, known = list(moves), len(moves)
    present, sound = standing(moves), set[str]()
    while unseen := [version for version in present.aliases.values() if version and version not in sound]:
        version = present.champion if present.champion in unseen else unseen[0]
        run_id = _origin(moves, version).run_id
        part = missing_part(version, run_id, registry, artifacts_gone)
        if part is None:
            sound.add(version)
            continue
        loss = _loss(version, part, moves, present, actor)
        moves.append(loss)
        present = present.after(loss)
    return moves[known:]


def _origin(moves: Sequence[Move], version: str) -> Move:
    origin = origin_of(moves, version)
    assert origin is not None, "it holds an alias"
    return origin


def _loss(version: str, part: str, moves: Sequence[Move], present: Standing, actor: str) -> Move:
    """Return the row about a lost version; its reason names the missing part and the outcome."""
    last = _origin(moves, version)
    times = sum((move.action, move.to_version, move.run_id) == (LOST, version, last.run_id) for move in moves)
    held = [alias for alias, holder in present.aliases.items() if holder == version]
    alias = held[0] if {*held} <= {"challenger", "shadow", "canary"} else "champion"
    loss = Move(
        move_id=f"lost/{last.run_id}/{version}/{times + 1}",
        moved_at=datetime.now(UTC),
        actor=actor,
        action=LOST,
        model_name=last.model_name,
        alias=alias,
        from_version=present.aliases[alias],
        to_version=version,
        reason="",
        run_id=last.run_id,
        run_key=last.run_key,
    )
    champion = present.after(loss).champion
    serves = (
        f"version {champion} serves"
        if champion
        else "no version serves: the next training starts from scratch"
    )
    if present.champion == version:
        serves = serves.replace(" serves", " serves now", 1)
    reason = f"Version {version} of {last.model_name} ({' and '.join(held)}) is lost: {part}; {serves}."
    return dataclasses.replace(loss, reason=reason)


def missing_part(
    version: str, run_id: str | None, registry: Registry, artifacts_gone: bool = False
) -> str | None:
    """Say which part of a version is gone; None if the version can be served and trained on.

    Args:
        version: its number.
        run_id: the run that it has to be of; None = whichever run MLflow names.
        registry: where it should be.
        artifacts_gone: see `present_standing`.

    Raises:
        ArtifactsUnreachableError: MLflow's folder of artifacts is missing or empty.
    """
    trained_by = registry.find_run_of(version)
    if trained_by is None:
        return f"{registry.uri} has no version {version}"
    run_id = run_id or trained_by
    if trained_by != run_id:
        return (
            f"version {version} in {registry.uri} is of run {trained_by}, not of run {run_id}: "
            "MLflow's database was made anew"
        )
    if not registry.has_run(run_id):
        return f"{registry.uri} has no run {run_id}"
    if not artifacts_gone:
        registry.require_artifacts_folder(run_id)
    if not registry.has_artifact(run_id, STATE):
        return f"run {run_id} of {registry.uri} no longer has its artifact {STATE!r}"
    if not registry.has_packed(version):
        return f"the model that services load is gone from the artifacts of {registry.uri}"
    return None
