"""What a file may change in a trial that runs: phases to come, its end, and a bandit's probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from lastaisle.experiments.definition.definition import Definition, DefinitionError, VersionOf
from lastaisle.experiments.traffic import Arm, Trial
from lastaisle.yaml_file import Steps

#: What would spoil the figures: the field of the trial, and the key of the file.
_FIXED: Final[tuple[tuple[str, Steps], ...]] = (
    ("kind", ("kind",)),
    ("arms", ("arms",)),
    ("layer", ("layer",)),
    ("buckets", ("buckets",)),
    ("placements", ("placements",)),
    ("targeting", ("targeting",)),
    ("starts_at", ("start",)),
    ("analysis", ("analysis",)),
)
_FIXED_IN_BANDITS: Final = ("algorithm", "context", "reward")


def changed(definition: Definition, running: Trial, now: datetime, version_of: VersionOf) -> Trial:
    """Return the trial that runs as its file wants it now.

    Before its start, a trial may change in all.

    Args:
        definition: what the file says.
        running: the trial as it runs.
        now: the moment of the change (UTC).
        version_of: returns the version of an alias in an arm that did not name one before.

    Raises:
        DefinitionError: the change would spoil the figures of the trial.
    """

    def kept_version(steps: Steps, alias: str) -> str:
        name = definition.given.arms[int(steps[1])].name
        arm = next((arm for arm in running.arms if arm.name == name), None)
        return _kept(arm, in_mix=len(steps) > 2) or version_of(steps, alias)

    units = running.analysis.planned_units if running.analysis else 0
    wanted = definition.trial(running.starts_at, kept_version, units)
    if now < running.starts_at:
        return wanted
    problems = [definition.problem(steps, reason) for steps, reason in _spoiling(running, wanted, now)]
    if problems:
        raise DefinitionError(definition.path, problems)
    if wanted.bandit is not None and running.bandit is not None:
        learned = replace(wanted.bandit, share=running.bandit.share, posterior=running.bandit.posterior)
        wanted = replace(wanted, bandit=learned)
    return wanted


def _kept(arm: Arm | None, *, in_mix: bool) -> str | None:
    if arm is None:
        return None
    return (arm.mix.version if arm.mix else None) if in_mix else arm.version


def _spoiling(running: Trial, wanted: Trial, now: datetime) -> Iterator[tuple[Steps, str]]:
    """Yield the changes that would spoil the figures."""
    since = f"it runs since {running.starts_at:%Y-%m-%d %H:%M} UTC"
    remedy = "put the old value back; or stop it, and take a new name"
    for field, steps in _FIXED:
        if getattr(running, field) != getattr(wanted, field):
            yield steps, f"{steps[0]} has changed, but {since}: {remedy}"
    if running.bandit is not None and wanted.bandit is not None:
        for field in _FIXED_IN_BANDITS:
            if getattr(running.bandit, field) != getattr(wanted.bandit, field):
                yield ("bandit", field), f"{field} has changed, but {since}: {remedy}"
    if running.stops_at is not None and running.stops_at <= now:
        if wanted.stops_at != running.stops_at:
            yield ("stop",), f"it ended at {running.stops_at:%Y-%m-%d %H:%M} UTC: take a new name"
    elif wanted.stops_at is not None and wanted.stops_at != running.stops_at and wanted.stops_at <= now:
        yield ("stop",), "lies in the past: stop it now by kill: true"
    yield from _spoiled_phases(running, wanted, now)


def _spoiled_phases(running: Trial, wanted: Trial, now: datetime) -> Iterator[tuple[Steps, str]]:
    """Yield changes of phases that have begun, and phases that would begin in the past."""
    begun = [phase for phase in running.phases if phase.starts_at <= now]
    for at, phase in enumerate(begun):
        steps: Steps = ("phases", at) if len(wanted.phases) > 1 or at else ("allocation",)
        if at >= len(wanted.phases):
            yield ("phases",), f"phase {at + 1} is gone, but it began at {phase.starts_at:%Y-%m-%d %H:%M} UTC"
        elif phase.ranges != wanted.phases[at].ranges:
            shares = {arm: round(share, 4) for arm, share in phase.shares().items()}
            yield (
                steps,
                f"phase {at + 1} began at {phase.starts_at:%Y-%m-%d %H:%M} UTC with {shares}: a changed "
                "allocation is a new phase. Keep this one first in phases, and add one with its own start",
            )
        elif at and phase.starts_at != wanted.phases[at].starts_at:
            yield ((*steps, "start"), f"the phase began at {phase.starts_at.isoformat()} already")
    for at, phase in enumerate(wanted.phases[len(begun) :], len(begun)):
        if at and phase.starts_at <= now:
            yield (
                ("phases", at, "start"),
                f"{phase.starts_at.isoformat()} has passed, and services still show the phase before: give "
                f"a start after {now:%Y-%m-%d %H:%M} UTC",
            )
