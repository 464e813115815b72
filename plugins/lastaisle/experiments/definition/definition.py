"""Read a definition, and make a trial of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from lastaisle.experiments.assignment import BUCKETS, ranges_of_phases
from lastaisle.experiments.bandits.options import problems_of as problems_of_bandit
from lastaisle.experiments.definition.checks import problems_of
from lastaisle.experiments.definition.document import CHAMPION, ArmPart, DefinitionDocument, ListPart
from lastaisle.experiments.traffic import AnalysisRules, Arm, Bandit, Mix, Phase, Trial
from lastaisle.yaml_file import Steps, YamlFile, YamlFileError, read_yaml
from lastaisle.yaml_model import YamlModelError, place, read_model

PLANNED_UNITS: Final = 100_000
"""The shoppers for which intervals are narrowest, if nothing tells how many an experiment needs."""

_TRUE: Final = ("true", "t", "yes", "y", "on", "1")  # as Pydantic reads them

VersionOf = Callable[[Steps, str], str]
"""Returns the version of an alias that a part of the file names; the part by its place."""


class DefinitionError(YamlModelError):
    """The definition of an experiment or a bandit that cannot be used."""


class PhaseShares(NamedTuple):
    """One phase as the file says it.

    Attributes:
        start: when it begins; None for the beginning of the experiment.
        shares: the share of each arm.
    """

    start: datetime | None
    shares: dict[str, float]


@dataclass(frozen=True)
class Definition:
    """The definition of an experiment or a bandit, without errors of its own.

    Attributes:
        path: the file.
        given: what the file says.
        file: knows the line of each part.
    """

    path: Path
    given: DefinitionDocument
    file: YamlFile

    @property
    def name(self) -> str:
        """The name of the experiment or bandit."""
        return self.given.name

    def problem(self, steps: Steps, reason: str) -> tuple[str, str]:
        """Return a problem of the file: the place and the reason."""
        return place(steps, self.file), reason

    def phases(self) -> list[PhaseShares]:
        """Return the phases of an experiment; a bandit has none."""
        given = self.given
        if given.kind == "bandit":
            return []
        if given.phases is not None:
            return [PhaseShares(phase.start, dict(phase.allocation)) for phase in given.phases]
        equal = {arm.name: 1 / len(given.arms) for arm in given.arms}
        return [PhaseShares(None, dict(given.allocation or equal))]

    def analysis(self, planned_units: int = PLANNED_UNITS) -> AnalysisRules | None:
        """Return how the experiment is judged; None for a bandit.

        Args:
            planned_units: the number of shoppers, if the file gives none.
        """
        rules = self.given.analysis
        if rules is None:
            return None
        return AnalysisRules(
            primary=rules.primary,
            guardrails=tuple(rules.guardrails),
            minimum_effect=rules.minimum_effect,
            alpha=rules.alpha,
            power=rules.power,
            horizon_hours=rules.horizon_hours,
            cuped_days=rules.cuped_days,
            planned_units=rules.planned_units or planned_units,
        )

    def trial(self, now: datetime, version_of: VersionOf, planned_units: int = PLANNED_UNITS) -> Trial:
        """Return the trial as it would begin now.

        Args:
            now: when it begins, if the file gives no start (UTC).
            version_of: returns the version of an alias.
            planned_units: see `analysis`.
        """
        given, phases = self.given, self.phases()
        start = given.start or (phases[0].start if phases else None) or now
        buckets = ranges_of_phases([phase.shares for phase in phases])
        return Trial(
            name=given.name,
            kind=given.kind,
            arms=tuple(_arm(("arms", at), arm, version_of) for at, arm in enumerate(given.arms)),
            layer=given.layer,
            buckets=(given.buckets[0], given.buckets[1]),
            placements=tuple(given.placements or ()),
            targeting=_targeting(given),
            starts_at=start.astimezone(UTC),
            stops_at=given.stop and given.stop.astimezone(UTC),
            phases=tuple(
                Phase(starts_at=((phase.start if at else None) or start).astimezone(UTC), ranges=ranges)
                for at, (phase, ranges) in enumerate(zip(phases, buckets, strict=True))
            ),
            bandit=self.bandit(),
            analysis=self.analysis(planned_units),
        )

    def bandit(self) -> Bandit | None:
        """Return how a bandit draws before it learned anything; None for an experiment."""
        part = self.given.bandit
        if part is None:
            return None
        equal = {arm.name: 1 / len(self.given.arms) for arm in self.given.arms}
        return Bandit(
            algorithm=part.algorithm,
            options=dict(part.options),
            base=dict(part.base or equal),
            floor=part.floor,
            context=tuple(part.context),
            reward=part.reward,
        )

    def parts(self) -> list[tuple[Steps, ListPart, bool]]:
        """Return each part that names a version: its place, the part, and whether refused versions may be."""
        found: list[tuple[Steps, ListPart, bool]] = []
        for at, arm in enumerate(self.given.arms):
            found.append((("arms", at), arm, arm.allow_refused))
            if arm.mix is not None:
                found.append((("arms", at, "mix"), arm.mix, arm.allow_refused))
        return found


def read_definition(path: Path) -> Definition:
    """Read a definition, and check all that the file alone can tell.

    Raises:
        DefinitionError: the file cannot be read, or says something that has no meaning; the error names every
            such place with its line.
    """
    given, file = read_model(path, DefinitionDocument, DefinitionError)
    definition = Definition(path, given, file)
    problems = [definition.problem(steps, reason) for steps, reason in problems_of(given)]
    if not problems and (bandit := definition.bandit()) is not None:
        names = tuple(arm.name for arm in given.arms)
        problems = [definition.problem(("bandit",), reason) for reason in problems_of_bandit(bandit, names)]
    if problems:
        raise DefinitionError(path, problems)
    return definition


def glance(path: Path) -> tuple[str | None, bool]:
    """Return the name in a file, and whether its kill switch is on, even if the file has errors elsewhere."""
    try:
        content: Any = read_yaml(path).content
    except YamlFileError:
        return None, False
    if not isinstance(content, dict):
        return None, False
    name = content.get("name")
    is_killed = str(content.get("kill")).lower() in _TRUE
    return (name, is_killed) if isinstance(name, str) else (None, False)


def overlapping_buckets(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Tell whether two ranges of a layer's buckets share a bucket."""
    return max(one[0], other[0]) < min(one[1], other[1], BUCKETS)


def _arm(steps: Steps, part: ArmPart, version_of: VersionOf) -> Arm:
    mix = None
    if part.mix is not None:
        version = _version((*steps, "mix"), part.mix, version_of)
        mix = Mix(positions=tuple(part.mix.positions), policy=part.mix.policy, version=version)
    return Arm(
        name=part.name,
        version=_version(steps, part, version_of),
        policy=part.policy,
        exclude_seen=part.exclude_seen,
        rules=part.rules,
        mix=mix,
    )


def _version(steps: Steps, part: ListPart, version_of: VersionOf) -> str | None:
    if part.follows_champion():
        return None
    return part.version or version_of(steps, part.alias or CHAMPION)


def _targeting(given: DefinitionDocument) -> dict[str, tuple[str, ...]]:
    named = given.targeting.model_dump(exclude_none=True) if given.targeting else {}
    return {column: tuple(values) for column, values in named.items()}
