"""What trained models know of a shopper: vectors of their own, and weights that sessions of theirs shaped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lastaisle.lake.tables import TRAINING_RUNS
from lastaisle.lake.whole_file import whole_file
from lastaisle.registry.ledger import REGISTER, Ledger
from lastaisle.registry.tags import BASE, KIND, RUN_KEY
from lastaisle.rights.erasure.model import PlaceReport, VersionTouched
from lastaisle.rights.erasure.scan import search

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.rights.erasure.known import Known
    from lastaisle.rights.erasure.needles import Needles

PLACE: Final = "mlflow"
VECTOR, SEQUENCES, WEIGHTS = "vector", "sequences", "weights"
LOST_VECTOR, DELETED, RETRAIN_OR_RETIRE = "lost_vector", "deleted", "retrain_or_retire"
_ONLINE: Final = "online"  # the kind of runs of online updates, and the alias of their newest version
_SHOPPERS, _VECTORS = "shoppers", "shopper_vectors"  # the arrays of models.online.shoppers.Shoppers
_OWNER: Final = re.compile(r"(?:^|/)(?:models/(m-[0-9a-f]{32})|([0-9a-f]{32}))/artifacts/")
_KEEP_SEQUENCES: Final = frozenset({"neighbours"})


@dataclass
class _Found:
    """The files of one run, or of one packed model, that name a shopper."""

    folder: Path
    files: list[Path] = field(default_factory=list)


def erase_from_registry(
    registry: Registry, folder: Path | None, needles: Needles, pseudonyms: Iterable[str], *, dry_run: bool
) -> tuple[PlaceReport, dict[str, str]]:
    """Take the vectors of shoppers out of stored online updates, and find them in all other artifacts.

    A packed model with online updates cannot lose a vector, so it is deleted with its version. Its updates
    are learned again from the tables, which do not hold the shoppers any more.

    Args:
        registry: MLflow.
        folder: the folder of its artifacts; None if it lies on another machine.
        needles: the ids and pseudonyms.
        pseudonyms: the pseudonyms of the shoppers.
        dry_run: change nothing.

    Returns:
        What was done; and for each run that knew a vector of a shopper, what was decided of it.
    """
    report = PlaceReport(PLACE, "registry")
    if folder is None:
        return replace(report, unsearched="MLflow keeps its artifacts on another machine"), {}
    decided: dict[str, str] = {}
    for owner, found in _find(folder, needles).items():
        run_id = registry.run_of_logged_model(owner) if owner.startswith("m-") else owner
        decision, rows = _forget(registry, found, run_id, frozenset(pseudonyms), dry_run=dry_run)
        if run_id and decided.get(run_id) != RETRAIN_OR_RETIRE:
            decided[run_id] = decision
        report = replace(
            report, rows=report.rows + rows, files_deleted=report.files_deleted + (decision == DELETED)
        )
    return _searched(folder, needles, report), decided


def _find(folder: Path, needles: Needles) -> dict[str, _Found]:
    """Return the runs and packed models with files that name a shopper, by their ids."""
    owners: dict[str, _Found] = {}
    for path in _files(folder):
        if search(path.read_bytes(), needles).found:
            within = path.relative_to(folder).as_posix()
            match = _OWNER.search(within)
            owner = (match and (match[1] or match[2])) or within
            place = folder / within[: match.end()] if match else path
            owners.setdefault(owner, _Found(place)).files.append(path)
    return owners


def _forget(
    registry: Registry, found: _Found, run_id: str | None, pseudonyms: frozenset[str], *, dry_run: bool
) -> tuple[str, int]:
    """Decide about the files of one run or packed model; return the decision, and the vectors taken out."""
    if run_id is None or not registry.has_run(run_id):  # a deleted run, whose files MLflow still keeps
        if not dry_run:
            shutil.rmtree(found.folder, ignore_errors=True)
        return DELETED, 0
    if registry.tags(run_id).get(KIND) != _ONLINE:
        return RETRAIN_OR_RETIRE, 0
    if all(_has_shoppers(path) for path in found.files):
        return LOST_VECTOR, sum(_without_vectors(path, pseudonyms, dry_run) for path in found.files)
    if not dry_run:
        _retire_online(registry, run_id)
        shutil.rmtree(found.folder, ignore_errors=True)
    return DELETED, 0


def _retire_online(registry: Registry, run_id: str) -> None:
    """Delete the version of an online update; the alias names the champion until the next update."""
    version = registry.version_for_run(run_id)
    if version is None:
        return
    aliases = registry.aliases()
    if aliases.get(_ONLINE) == version:
        champion = aliases.get("champion") or registry.tags(run_id).get(BASE)
        registry.set_aliases({_ONLINE: champion})
    registry.delete_version(version)


def _has_shoppers(path: Path) -> bool:
    if path.suffix != ".npz":
        return False
    with np.load(path, allow_pickle=False) as arrays:
        return {_SHOPPERS, _VECTORS} <= set(arrays.files)


def _without_vectors(path: Path, pseudonyms: frozenset[str], dry_run: bool) -> int:
    """Write the arrays of online updates again without the vectors of shoppers; return their number."""
    with np.load(path, allow_pickle=False) as stored:
        arrays: dict[str, Any] = {name: stored[name] for name in stored.files}
    theirs = np.isin(arrays[_SHOPPERS], sorted(pseudonyms))
    if theirs.any() and not dry_run:
        kept = arrays[_SHOPPERS][~theirs]
        arrays |= {_SHOPPERS: np.array(kept.tolist(), np.str_), _VECTORS: arrays[_VECTORS][~theirs]}
        with whole_file(path) as unfinished, unfinished.open("wb") as stream:
            np.savez(stream, **arrays)
    return int(theirs.sum())


def _searched(folder: Path, needles: Needles, report: PlaceReport) -> PlaceReport:
    """Count what every file of the folder holds now."""
    for path in _files(folder):
        searched = search(path.read_bytes(), needles)
        report = replace(
            report,
            files_scanned=report.files_scanned + 1,
            bytes_scanned=report.bytes_scanned + searched.bytes,
            found=report.found + searched.found,
            unreadable=report.unreadable + searched.unreadable,
        )
    return report


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def touched_versions(
    lake: Lake, registry: Registry, known: Known, decided: Mapping[str, str]
) -> list[VersionTouched]:
    """Return the runs and versions that know something of the shoppers.

    These are the runs with a vector of theirs; the trainings whose window holds an hour with an event of
    theirs; and all versions that learned on from one of these. The window tells no more than the hours, so a
    shopper who refused to be learned from may be among them.
    """
    trainings = _trainings(lake)
    versions = _versions(lake, registry, trainings)
    through: dict[str, str] = {
        run_id: row["run_key"] for run_id, row in trainings.items() if _learned_from(row, known.hours)
    }
    run_of = {version: run_id for run_id, version in versions.items()}
    changed = True
    while changed:  # versions that learned on, also over several trainings
        changed = False
        for run_id, row in trainings.items():
            start = run_of.get(row["warm_start_version"] or "")
            if run_id not in through and start in through:
                through[run_id], changed = through[start], True
    found = []
    for run_id in [*through, *(run_id for run_id in decided if run_id not in through)]:
        trained = trainings.get(run_id)
        knows = VECTOR if run_id in decided else _knows(trained)
        version = versions.get(run_id) or registry.version_for_run(run_id) or ""
        own_key = (
            registry.tags(run_id).get(RUN_KEY, "") if trained is None and registry.has_run(run_id) else ""
        )
        decision = decided.get(run_id, RETRAIN_OR_RETIRE)
        found.append(VersionTouched(version, run_id, knows, through.get(run_id, own_key), decision))
    return found


def _trainings(lake: Lake) -> dict[str, dict[str, Any]]:
    columns = ["run_key", "run_id", "architecture", "window_start", "window_end", "warm_start_version"]
    rows = [] if lake.version(TRAINING_RUNS) is None else lake.scan(TRAINING_RUNS, columns).to_pylist()
    return {row["run_id"]: row for row in rows}


def _versions(lake: Lake, registry: Registry, trainings: Iterable[str]) -> dict[str, str]:
    """Return the version of each training that was registered and is still there, by its run."""
    there = set(registry.all_versions())
    moves = Ledger(lake, registry.model_name).moves()
    return {
        move.run_id: str(move.to_version)
        for move in moves
        if move.action == REGISTER and move.run_id in set(trainings) and move.to_version in there
    }


def _learned_from(training: Mapping[str, Any], hours: Iterable[str]) -> bool:
    start, end = training["window_start"], training["window_end"]
    return any(start - timedelta(hours=1) < datetime.fromisoformat(hour) < end for hour in hours)


def _knows(training: Mapping[str, Any] | None) -> str:
    return SEQUENCES if training and training["architecture"] in _KEEP_SEQUENCES else WEIGHTS
