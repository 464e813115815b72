"""Apply definitions: write a move for each trial that begins, changes or stops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException

from lastaisle.experiments.definition.changes import changed
from lastaisle.experiments.definition.definition import PLANNED_UNITS, Definition, DefinitionError
from lastaisle.experiments.definition.folder import Definitions, Refused, read_definitions
from lastaisle.experiments.definition.moves import DEFINED, Applied, Outcome, next_move, stop_trial, told_over
from lastaisle.experiments.definition.overlaps import overlap
from lastaisle.experiments.definition.sizes import planned_units
from lastaisle.experiments.definition.versions import Versions
from lastaisle.experiments.traffic import RUNNING, TrafficLog, Trial, read_traffic, write_move
from lastaisle.feedback.clock import data_clock
from lastaisle.lake.retries import ATTEMPTS, retry_conflicts
from lastaisle.telemetry.shown import one_line

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
    """

    place: Path
    applied: tuple[Applied, ...]
    refused: tuple[Refused, ...]
    skipped: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return as a JSON-serialisable dict."""
        return {
            "place": str(self.place),
            "applied": [asdict(one) for one in self.applied],
            "refused": [
                {"file": str(one.path), "name": one.name, "problems": one.lines()} for one in self.refused
            ],
            "skipped": [str(path) for path in self.skipped],
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
    # A trial begins with the newest data, which a simulated shop or old logs may have long ago.
    begin = min(now, data_clock(lake) or now)
    decided = _Decisions(Candidates(lake, Versions(lake, registry), now, begin), actor)
    living = [one for one in definitions.found if one.name not in definitions.killed]
    retry_conflicts(ATTEMPTS)(lambda: decided.write(living))
    applied |= decided.applied
    if place is None:
        named = {*applied, *(one.name for one in definitions.found)}
        named |= {one.name for one in definitions.refused if one.name is not None}
        applied |= {one.name: one for one in _without_file(read_traffic(lake), named)}
    in_order = tuple(applied[name] for name in sorted(applied))
    refused = (*definitions.refused, *decided.refused)
    return ApplyReport(definitions.place, in_order, refused, definitions.skipped)


class Candidates:
    """The trials as their files want them, checked one by one and against each other.

    Args:
        lake: holds the figures by which the number of shoppers is planned.
        versions: the versions that arms name.
        now: the present moment (UTC).
        begin: when a trial begins whose file gives no start (UTC).
    """

    def __init__(self, lake: Lake, versions: Versions, now: datetime, begin: datetime) -> None:
        self.lake = lake
        self.versions = versions
        self.now = now
        self.begin = begin

    def of(self, definition: Definition, log: TrafficLog) -> Trial:
        """Return the trial that a file wants.

        Raises:
            DefinitionError: the file asks for what cannot be.
        """
        newest = log.newest().get(definition.name)
        if newest is None:
            return self._beginning(definition)
        if newest.state != RUNNING:
            return newest.trial
        if newest.trial.kind not in DEFINED:
            reason = f"{definition.name!r} is the name of a {newest.trial.kind}"
            raise DefinitionError(definition.path, [definition.problem(("name",), reason)])
        wanted = changed(
            definition, newest.trial, self.now, lambda *part: self.versions.of(definition, *part)
        )
        if wanted.arms != newest.trial.arms:
            self._check_versions(definition)
        return wanted

    def _beginning(self, definition: Definition) -> Trial:
        given = definition.given
        if given.stop is not None and given.stop <= self.now:
            reason = f"{given.stop.isoformat()} has passed: it would never run"
            raise DefinitionError(definition.path, [definition.problem(("stop",), reason)])
        self._check_versions(definition)
        version_of = partial(self.versions.of, definition)
        trial = definition.trial(self.begin, version_of)
        return definition.trial(self.begin, version_of, planned_units(self.lake, trial) or PLANNED_UNITS)

    def _check_versions(self, definition: Definition) -> None:
        problems = list(self.versions.problems_of(definition))
        if problems:
            raise DefinitionError(definition.path, problems)

    def checked(
        self, definitions: list[Definition], log: TrafficLog
    ) -> tuple[dict[str, tuple[Definition, Trial]], list[Refused]]:
        """Return the trials of files without problems, by name, and the files that are refused."""
        wanted: dict[str, tuple[Definition, Trial]] = {}
        refused: list[Refused] = []
        for definition in definitions:
            try:
                wanted[definition.name] = (definition, self.of(definition, log))
            except DefinitionError as error:
                refused.append(Refused(definition.path, definition.name, error.problems))
            except MlflowException as error:
                reason = f"MLflow cannot say whether its versions exist: {one_line(str(error))[:300]}"
                refused.append(Refused(definition.path, definition.name, (definition.problem((), reason),)))
        disturbing = dict(self._overlaps(wanted, log))
        refused += disturbing.values()
        return {name: one for name, one in wanted.items() if name not in disturbing}, refused

    def _overlaps(
        self, wanted: dict[str, tuple[Definition, Trial]], log: TrafficLog
    ) -> Iterator[tuple[str, Refused]]:
        """Yield the trials that begin or change, and would meet another trial."""
        running = {trial.name: trial for trial in log.running() if trial.kind in DEFINED}
        present = running | {name: trial for name, (_, trial) in wanted.items() if _is_open(log, name)}
        for name, (definition, trial) in wanted.items():
            if trial == running.get(name) or not _is_open(log, name):
                continue
            met = (overlap(trial, other) for other in present.values() if other.name != name)
            problems = tuple(definition.problem(*one) for one in met if one is not None)
            if problems:
                yield name, Refused(definition.path, name, problems)


def _is_open(log: TrafficLog, name: str) -> bool:
    """Tell whether a trial runs, or never ran."""
    newest = log.newest().get(name)
    return newest is None or newest.state == RUNNING


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
