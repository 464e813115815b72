"""What a definition may not say, beyond the types of its fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from data_contracts.spellings import spells_nothing
from lastaisle.experiments.definition.document import DefinitionDocument, ListPart
from lastaisle.experiments.metrics import METRICS
from lastaisle.experiments.traffic import CANARY, SHADOW
from lastaisle.yaml_file import Steps
from lastaisle.yaml_model import closest

_RESERVED: Final = (CANARY, SHADOW)
_ROUNDING: Final = 1e-9

Problems = Iterator[tuple[Steps, str]]


def problems_of(given: DefinitionDocument) -> Problems:
    """Yield the place and the reason of each problem of a definition."""
    if any(given.name == word or given.name.startswith(f"{word}-") for word in _RESERVED):
        yield ("name",), f"{given.name!r} is a name of releases: choose a name without canary and shadow"
    elif spells_nothing(given.name):
        yield ("name",), f"{given.name!r} spells a missing value: choose another name"
    yield from _of_arms(given)
    yield from _of_kind(given)
    yield from _of_times(given)
    first, end = given.buckets
    if first >= end:
        yield ("buckets",), f"{first} and {end} hold no bucket: the first should be below the second"
    if given.kind == "experiment":
        yield from _of_allocations(given)
        yield from _of_metrics(given)
    elif given.bandit is not None:
        yield from _of_base(given)


def _of_arms(given: DefinitionDocument) -> Problems:
    names = [arm.name for arm in given.arms]
    for at, arm in enumerate(given.arms):
        if arm.name in names[:at]:
            yield ("arms", at, "name"), f"{arm.name!r} is the name of an arm before"
        if spells_nothing(arm.name):
            yield ("arms", at, "name"), f"{arm.name!r} spells a missing value: choose another name"
        yield from _of_list(arm, ("arms", at))
        if arm.mix is not None:
            yield from _of_list(arm.mix, ("arms", at, "mix"))
            doubled = [place for place in arm.mix.positions if arm.mix.positions.count(place) > 1]
            if doubled:
                yield ("arms", at, "mix", "positions"), f"{doubled[0]} stands twice"


def _of_list(part: ListPart, steps: Steps) -> Problems:
    if part.version is not None and part.alias is not None:
        yield steps, "should hold version or alias, not both"


def _of_kind(given: DefinitionDocument) -> Problems:
    """Yield parts that belong to the other kind, or are missing in this one."""
    if given.kind == "experiment":
        if given.bandit is not None:
            yield ("bandit",), "belongs to a bandit: give kind: bandit, or leave it out"
        if given.analysis is None:
            yield (), "analysis is missing; an experiment needs it, with primary and minimum_effect"
        if given.allocation is not None and given.phases is not None:
            yield ("phases",), "should hold allocation or phases, not both"
        return
    if given.bandit is None:
        yield (), "bandit is missing; kind: bandit needs it, with an algorithm"
    for name in ("allocation", "phases", "analysis"):
        if getattr(given, name) is not None:
            yield (name,), "belongs to an experiment: a bandit draws by base, floor and what it learns"


def _of_times(given: DefinitionDocument) -> Problems:
    if given.start and given.stop and given.start >= given.stop:
        yield ("stop",), f"{given.stop.isoformat()} is not after the start {given.start.isoformat()}"
    before = given.start
    for at, phase in enumerate(given.phases or ()):
        steps = ("phases", at, "start")
        if at == 0 and phase.start and given.start and phase.start != given.start:
            yield steps, f"should be the start of the experiment, {given.start.isoformat()}, or be left out"
        elif at and phase.start is None:
            yield steps[:2], "start is missing; each phase after the first needs it"
        elif at and phase.start and before and phase.start <= before:
            yield steps, f"{phase.start.isoformat()} is not after the phase before, {before.isoformat()}"
        elif phase.start and given.stop and phase.start >= given.stop:
            yield steps, f"{phase.start.isoformat()} is not before the stop {given.stop.isoformat()}"
        before = phase.start or before


def _of_allocations(given: DefinitionDocument) -> Problems:
    names = [arm.name for arm in given.arms]
    steps_of: dict[Steps, Mapping[str, float]] = {}
    if given.allocation is not None:
        steps_of["allocation",] = given.allocation
    for at, phase in enumerate(given.phases or ()):
        steps_of["phases", at, "allocation"] = phase.allocation
    for steps, shares in steps_of.items():
        yield from _of_names(shares, names, steps)
        total = sum(shares.values())
        if total > 1 + _ROUNDING:
            yield steps, f"the shares are {total:.6g} together; they should be at most 1"
    if steps_of and not any(
        shares.get(names[0], 0) > 0 and any(shares.get(other, 0) > 0 for other in names[1:])
        for shares in steps_of.values()
    ):
        reason = f"no phase shows {names[0]!r} beside another arm, so nothing could be compared"
        yield next(iter(steps_of))[:1], reason
    for at, arm in enumerate(names):
        if steps_of and not any(shares.get(arm, 0) > 0 for shares in steps_of.values()):
            yield ("arms", at), f"the arm {arm!r} has no share"


def _of_names(given: Mapping[str, float], names: list[str], steps: Steps) -> Problems:
    for name in given:
        if name not in names:
            yield (*steps, name), f"there is no arm of this name; {closest(name, names, 'the arms are')}"


def _of_metrics(given: DefinitionDocument) -> Problems:
    if given.analysis is None:
        return
    named: list[tuple[Steps, str]] = [(("analysis", "primary"), given.analysis.primary)]
    named += [(("analysis", "guardrails", at), name) for at, name in enumerate(given.analysis.guardrails)]
    for steps, name in named:
        if name not in METRICS:
            yield (
                steps,
                f"there is no metric {name[:40]!r}; {closest(name, list(METRICS), 'the metrics are')}",
            )
    if given.analysis.primary in given.analysis.guardrails:
        at = given.analysis.guardrails.index(given.analysis.primary)
        yield ("analysis", "guardrails", at), "is the primary metric, which is watched anyway"


def _of_base(given: DefinitionDocument) -> Problems:
    """Yield what is wrong with the arms of base; lastaisle.experiments.bandits checks the numbers."""
    bandit = given.bandit
    if bandit is None or bandit.base is None:
        return
    names = [arm.name for arm in given.arms]
    yield from _of_names(bandit.base, names, ("bandit", "base"))
    for name in names:
        share = bandit.base.get(name, 0)
        if share < bandit.floor - _ROUNDING:
            yield (
                ("bandit", "base"),
                f"the arm {name!r} has {share:g}, less than the floor {bandit.floor:g}: an arm that is never "
                "shown cannot be judged",
            )
