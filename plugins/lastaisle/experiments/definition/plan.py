"""Plan experiments: how many shoppers they need, how long they run, and what is refused or may surprise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lastaisle.experiments.definition.apply import candidates_of, definitions_of, told
from lastaisle.experiments.definition.definition import Definition
from lastaisle.experiments.definition.folder import Refused
from lastaisle.experiments.definition.past import Past, read_past
from lastaisle.experiments.definition.sizes import Size, size_of
from lastaisle.experiments.traffic import RUNNING, TrafficLog, Trial, read_traffic
from lastaisle.lake.tables import OUTCOMES
from lastaisle.lake.workspace import open_tables
from lastaisle.telemetry.shown import one_line

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings

State = Literal["starts", "changes", "as before", "over", "is stopped"]
_SHORT_PAST: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class Planned:
    """The plan of one experiment or bandit.

    Attributes:
        name: its name.
        file: its file.
        state: what `apply` would do.
        summary: its arms with their shares, and its time.
        past: the shop's past as its analysis would have measured it; None for a bandit, and without data.
        size: how many shoppers it needs; None if the past does not tell.
        ends_at: when it has them (UTC); None if unknown.
        warnings: what may surprise.
    """

    name: str
    file: Path
    state: State
    summary: str
    past: Past | None
    size: Size | None
    ends_at: datetime | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return as a JSON-serialisable dict."""
        past = self.past and {
            "since": self.past.since,
            "until": self.past.until,
            "shoppers": len(self.past.arrived),
            "shoppers_judged": self.past.judged,
            "baseline": self.past.baseline,
            "variance": self.past.variance,
            "share": self.past.share,
        }
        given = {name: getattr(self, name) for name in ("name", "state", "summary", "ends_at", "warnings")}
        return {**given, "file": str(self.file), "past": past, "size": self.size and asdict(self.size)}


@dataclass(frozen=True)
class PlanReport:
    """The plans of all definitions of a folder.

    Attributes:
        place: the folder or the file.
        planned: the plans, by name.
        refused: the files that `apply` would refuse.
        skipped: entries of the folder that are no definitions.
    """

    place: Path
    planned: tuple[Planned, ...]
    refused: tuple[Refused, ...]
    skipped: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return as a JSON-serialisable dict."""
        return {
            "place": str(self.place),
            "planned": [one.to_dict() for one in self.planned],
            "refused": [
                {"file": str(one.path), "name": one.name, "problems": one.lines()} for one in self.refused
            ],
            "skipped": [str(path) for path in self.skipped],
        }


def plan_definitions(
    lake: Lake, settings: Settings, registry: Registry, now: datetime, place: Path | None = None
) -> PlanReport:
    """Plan experiments and bandits; nothing is written.

    Args:
        lake: holds the running trials and the shop's past.
        settings: name the folder of the definitions.
        registry: holds the versions of arms.
        now: the present moment (UTC).
        place: another folder, or one file.

    Raises:
        DefinitionError: the place is not there, or cannot be listed.
    """
    definitions = definitions_of(settings, place)
    traffic = read_traffic(lake)
    wanted, refused = candidates_of(lake, settings, registry, now).checked(list(definitions.found), traffic)
    seen = _placements(lake)
    planned = tuple(
        _plan(definition, trial, _state(definition, trial, traffic), _past_of(lake, settings, trial), seen)
        for definition, trial in wanted.values()
    )
    return PlanReport(definitions.place, planned, (*definitions.refused, *refused), definitions.skipped)


def _past_of(lake: Lake, settings: Settings, trial: Trial) -> Past | None:
    return None if trial.analysis is None else read_past(lake, settings, trial, trial.analysis)


def _plan(
    definition: Definition, trial: Trial, state: State, past: Past | None, seen: dict[str, int]
) -> Planned:
    rules = trial.analysis
    size = size_of(trial, rules, past) if rules and past else None
    days = size.days if size else None
    return Planned(
        name=definition.name,
        file=definition.path,
        state=state,
        summary=told(trial),
        past=past,
        size=size,
        ends_at=None if days is None else trial.starts_at + timedelta(days=min(days, 365_000)),
        warnings=(*_of_trial(trial, seen), *(_of_size(trial, past, size) if rules else ())),
    )


def _state(definition: Definition, trial: Trial, traffic: TrafficLog) -> State:
    newest = traffic.newest().get(definition.name)
    if newest is not None and newest.state != RUNNING:
        return "over"
    if definition.given.kill:
        return "is stopped"
    if newest is None:
        return "starts"
    return "as before" if newest.trial == trial else "changes"


def _of_trial(trial: Trial, seen: dict[str, int]) -> Iterator[str]:
    """Yield what may surprise in a trial itself."""
    like = [(arm.version, arm.policy, arm.exclude_seen, arm.rules, arm.mix) for arm in trial.arms]
    if len({repr(one) for one in like}) == 1:
        yield "all arms show the same lists: it tests the experiment itself, not a difference"
    unseen = [place for place in trial.placements if place not in seen]
    if unseen:
        known = f"lists were shown at {', '.join(map(one_line, seen))}" if seen else "no list was shown yet"
        yield f"no list was shown at {', '.join(map(one_line, unseen))}; {known}"
    if trial.stops_at is None:
        yield "it has no stop: it runs until it has a verdict, or until people stop it"


def _of_size(trial: Trial, past: Past | None, size: Size | None) -> Iterator[str]:
    """Yield what may surprise in the number of shoppers."""
    if past is None:
        yield "the lake has no outcomes of such lists: the number of shoppers and the run length are unknown"
        return
    if past.until - past.since < _SHORT_PAST:
        yield f"the past is only {past.days:.1f} days long: weekends and returning shoppers are not seen yet"
    if size is None:
        yield (
            f"the metric was {past.baseline:g} for all {past.judged:,} shoppers whose horizon is over: the "
            "number of shoppers is unknown"
        )
        return
    if size.days is None:
        yield "no new shopper came in the second half of the past: it never ends"
    rules = trial.analysis
    if rules is not None and size.least_effect is not None and size.least_effect > rules.minimum_effect:
        found = (
            "nothing" if math.isinf(size.least_effect) else f"an effect of {size.least_effect:.1%} or more"
        )
        yield (
            f"it stops too early to find an effect of {rules.minimum_effect:.1%}: until "
            f"{trial.stops_at:%Y-%m-%d %H:%M} UTC it finds {found}"
        )


def _placements(lake: Lake) -> dict[str, int]:
    """Return the placements at which lists were shown, with the number of exposures, most first."""
    stored = lake.dataset(OUTCOMES)
    if stored is None:
        return {}
    with open_tables(outcomes=stored) as connection:
        rows = connection.execute(
            "SELECT placement, count(*) FROM outcomes WHERE placement IS NOT NULL GROUP BY placement "
            "ORDER BY count(*) DESC, placement LIMIT 20"
        ).fetchall()
    return {str(placement): int(count) for placement, count in rows}
