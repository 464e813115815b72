"""The trials as their files want them, checked one by one and against each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from msgspec.structs import replace

from lastaisle.experiments.definition.changes import changed
from lastaisle.experiments.definition.definition import Definition, DefinitionError
from lastaisle.experiments.definition.folder import Refused
from lastaisle.experiments.definition.moves import DEFINED
from lastaisle.experiments.definition.overlaps import overlap
from lastaisle.experiments.definition.past import read_past
from lastaisle.experiments.definition.sizes import planned_units
from lastaisle.experiments.definition.versions import Versions
from lastaisle.experiments.traffic import RUNNING, TrafficLog, Trial
from lastaisle.telemetry.shown import one_line

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings


class Candidates:
    """The trials as their files want them, checked one by one and against each other.

    Args:
        lake: holds the shop's past, by which the number of shoppers is planned.
        settings: say how the past is measured.
        versions: the versions that arms name.
        now: the present moment (UTC).
        begin: when a trial begins whose file gives no start (UTC).
    """

    def __init__(
        self, lake: Lake, settings: Settings, versions: Versions, *, now: datetime, begin: datetime
    ) -> None:
        self.lake = lake
        self.settings = settings
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
        return self._with_units(trial) if given.analysis and not given.analysis.planned_units else trial

    def _with_units(self, trial: Trial) -> Trial:
        """Return a trial with the number of shoppers for which its intervals are narrowest."""
        assert trial.analysis is not None, "only experiments are analysed"
        past = read_past(self.lake, self.settings, trial, trial.analysis)
        units = planned_units(trial, trial.analysis, past)
        return replace(trial, analysis=replace(trial.analysis, planned_units=units)) if units else trial

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
            # A trial that runs may change although a new one would meet it: the new one is refused.
            others = (other for other in present.values() if name not in running or other.name in running)
            met = (overlap(trial, other) for other in others if other.name != name)
            problems = tuple(definition.problem(*one) for one in met if one is not None)
            if problems:
                yield name, Refused(definition.path, name, problems)


def _is_open(log: TrafficLog, name: str) -> bool:
    """Tell whether a trial runs, or never ran."""
    newest = log.newest().get(name)
    return newest is None or newest.state == RUNNING
