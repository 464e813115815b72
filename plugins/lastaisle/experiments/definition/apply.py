"""Apply definitions: write a move for each trial that begins, changes or stops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastaisle.experiments.definition.candidates import Candidates
from lastaisle.experiments.definition.definition import Definition
from lastaisle.experiments.definition.folder import Definitions, Refused, read_definitions
from lastaisle.experiments.definition.moves import DEFINED, Applied, Outcome, next_move, stop_trial, told_over
from lastaisle.experiments.definition.versions import Versions
from lastaisle.experiments.traffic import RUNNING, TrafficLog, Trial, read_traffic, write_move
from lastaisle.feedback.clock import data_clock
from lastaisle.lake.retries import ATTEMPTS, retry_conflicts

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings


@dataclass(frozen=True)
class ApplyReport:
    """What became of all definitions of a folder.

    Attributes:
        place: the folder or the file.
        applied: the experiments and bandits, by name.
        refused: the files that were not applied. Trials that run go on as they are.
        skipped: entries of the folder that are no definitions.
        problems: rows of the table `traffic` that cannot be read.
    """

    place: Path
    applied: tuple[Applied, ...]
    refused: tuple[Refused, ...]
    skipped: tuple[Path, ...]
    problems: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the report in sentences, one a line."""
        told = [f"{one.name}: {one.outcome}: {one.reason}" for one in self.applied]
        told += [f"warning: {one.name}: {note}" for one in self.applied for note in one.notes]
        told += [f"refused: {line}" for one in self.refused for line in one.lines()]
        told += [f"skipped: {path} is no .yaml file" for path in self.skipped]
        return [*told, *(f"warning: {problem}" for problem in self.problems)]

    def to_dict(self) -> dict[str, Any]:
        """Return as a JSON-serialisable dict."""
        return {
            "place": str(self.place),
            "applied": [asdict(one) for one in self.applied],
            "refused": [
                {"file": str(one.path), "name": one.name, "problems": one.lines()} for one in self.refused
            ],
            "skipped": [str(path) for path in self.skipped],
            "problems": list(self.problems),
        }


def definitions_of(settings: Settings, place: Path | None = None) -> Definitions:
    """Read the definitions of a place; by default those of the folder of the settings.

    Raises:
        DefinitionError: the place is not there, or cannot be listed. The default folder may be missing.
    """
    folder = Path(settings.experiments.folder).expanduser()
    by_default = place is None and folder == settings.home / "experiments"
    return read_definitions(place or folder, may_be_missing=by_default)


def apply_definitions(
    lake: Lake,
    settings: Settings,
    registry: Registry,
    now: datetime,
    actor: str,
    *,
    place: Path | None = None,
) -> ApplyReport:
    """Write a move for each trial that begins, changes or stops; without news it writes nothing.

    A file with an error is named, and stops no other file. A trial whose file is gone runs on, and is named.

    Args:
        lake: holds the table `traffic`.
        settings: name the folder of the definitions.
        registry: holds the versions of arms.
        now: the present moment (UTC).
        actor: the person or the DAG run.
        place: another folder, or one file.

    Raises:
        DefinitionError: the place is not there, or cannot be listed.
        LakeConflictError: other writers were faster again and again.
    """
    definitions = definitions_of(settings, place)
    applied = {name: _killed(lake, name, path, now, actor) for name, path in definitions.killed.items()}
    decided = _Decisions(candidates_of(lake, settings, registry, now), actor)
    living = [one for one in definitions.found if one.name not in definitions.killed]
    retry_conflicts(ATTEMPTS)(lambda: decided.write(living))
    applied |= decided.applied
    log = read_traffic(lake)
    if place is None:
        named = {*applied, *(one.name for one in definitions.found)}
        named |= {one.name for one in definitions.refused if one.name is not None}
        applied |= {one.name: one for one in _without_file(log, named)}
    in_order = tuple(applied[name] for name in sorted(applied))
    refused = (*definitions.refused, *decided.refused)
    return ApplyReport(definitions.place, in_order, refused, definitions.skipped, log.problems)


def candidates_of(lake: Lake, settings: Settings, registry: Registry, now: datetime) -> Candidates:
    """Return the maker of trials of a moment (UTC).

    A trial whose file gives no start begins with the newest data: that of a simulated shop, or of old logs,
    lies in the past.
    """
    begin = min(now, data_clock(lake) or now)
    return Candidates(lake, settings, Versions(lake, registry), now=now, begin=begin)


class _Decisions:
    """What became of definitions, also if another writer came between and all is decided again."""

    def __init__(self, candidates: Candidates, actor: str) -> None:
        self._candidates = candidates
        self._actor = actor
        self.applied: dict[str, Applied] = {}
        self.refused: list[Refused] = []

    def write(self, definitions: list[Definition]) -> None:
        """Write a move for each trial that begins or changes.

        Raises:
            LakeConflictError: another writer came between; what was written stays.
        """
        lake = self._candidates.lake
        log = read_traffic(lake)
        wanted, self.refused = self._candidates.checked(definitions, log)
        for name, (definition, trial) in wanted.items():
            before = log.newest().get(name)
            if before is not None and before.state != RUNNING:
                self.applied.setdefault(name, Applied(name, "over", told_over(before)))
            elif before is not None and before.trial == trial and name not in log.damaged:
                unchanged = Applied(name, "as before", before.reason, self._notes(trial))
                self.applied.setdefault(name, unchanged)
            else:
                reason = f"{'changed' if before else 'started'} by {definition.path.name}: {told(trial)}"
                now = self._candidates.now
                move = next_move(log, trial, RUNNING, now, reason=reason, actor=self._actor)
                outcome: Outcome = "changed" if before else "started"
                if not write_move(lake, move, log):
                    outcome = "as before"  # another process wrote the same move
                self.applied[name] = Applied(name, outcome, reason)
                log = read_traffic(lake)

    def _notes(self, trial: Trial) -> tuple[str, ...]:
        """Say which arms show a version that people or the gate do not want."""
        named = ((arm.name, arm.version or (arm.mix and arm.mix.version)) for arm in trial.arms)
        unwanted = self._candidates.versions.unwanted
        return tuple(
            f"the arm {arm} shows version {version}: {unwanted[version]}"
            for arm, version in named
            if version in unwanted
        )


def told(trial: Trial) -> str:
    """Return a trial in short: its arms with their shares, and its time."""
    phases = [
        ", ".join(f"{arm} {share:.4g}" for arm, share in phase.shares().items()) for phase in trial.phases
    ]
    shares = "; then ".join(phases) or ", ".join(arm.name for arm in trial.arms)
    end = f" to {trial.stops_at:%Y-%m-%d %H:%M}" if trial.stops_at else ""
    return f"{trial.kind} of {shares}, from {trial.starts_at:%Y-%m-%d %H:%M}{end} UTC"


def _killed(lake: Lake, name: str, path: Path, now: datetime, actor: str) -> Applied:
    log = read_traffic(lake)
    newest = log.newest().get(name)
    if newest is None or newest.trial.kind not in DEFINED:
        return Applied(name, "over", f"kill: true in {path.name}, and it never ran")
    return stop_trial(lake, name, f"kill: true in {path.name}", now, actor)


def _without_file(log: TrafficLog, named: set[str]) -> Iterator[Applied]:
    """Yield the trials that run without a file."""
    for trial in log.running():
        if trial.kind in DEFINED and trial.name not in named:
            stop = f"lastaisle experiments stop {trial.name}"
            reason = f"no file that can be read defines it, and it runs on. To stop it: {stop}"
            yield Applied(trial.name, "without a file", reason)
