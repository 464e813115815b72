"""Judge the champion: against the same hours of past weeks, since it serves.

A rollback helps only if the version is to blame. So a drop is only reported if it began before the version,
if the lists that the version did not make dropped as well, or if people made the version champion by a
rollback.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastaisle.baseline.fit import DAY, LEAST_DAYS, WEEK, fit_baseline
from lastaisle.baseline.hours import HISTORY, ShopHours, moment_of
from lastaisle.baseline.measures import MEASURES, Measure
from lastaisle.registry.ledger import PROMOTE, Move, returns, rolled_back_versions, standing
from lastaisle.release.gate import BROKEN, OPEN, REPORTED, Check
from lastaisle.release.guardrails.change import Change, change_since
from lastaisle.release.guardrails.drop import Drop, drop_of

if TYPE_CHECKING:
    from lastaisle.baseline.fit import Series
    from lastaisle.baseline.hours import Mask
    from lastaisle.release.guardrails.limits import GuardrailLimits

#: A drop began before the version if one of these hours before it would show a drop as well.
_EARLIER: Final = (DAY, 2 * DAY, 3 * DAY)
_EARLIER_DEVIATIONS: Final = 3.0
#: The other lists tell whether the shop dropped if their change is known at least half as well.
_AS_WELL_KNOWN: Final = 4.0
_OF_OTHERS: Final = ("placement", "segment", "model_version", "policy", "experiment", "arm")


@dataclass(frozen=True)
class ChampionJudgement:
    """What the guardrails say of the champion.

    Attributes:
        version: the champion; None = no version serves.
        since: the first hour in which it made most lists, in hours since 1970; None = it made none.
        until: the hour after the last that counts.
        checks: the decision table.
        held_back: why no rollback follows, although a rule is broken; empty = a rollback follows.
        why_unjudged: why there is no decision table; empty = there is one.
    """

    version: str | None
    since: int | None
    until: int
    checks: tuple[Check, ...]
    held_back: str = ""
    why_unjudged: str = ""

    @property
    def asks_rollback(self) -> bool:
        """Whether the champion has to go."""
        return bool(self.reason) and not self.held_back

    @property
    def reason(self) -> str:
        """The sentences of the broken rules."""
        return " ".join(check.reason for check in self.checks if check.says == BROKEN)


def judge_champion(shop: ShopHours, moves: Sequence[Move], limits: GuardrailLimits) -> ChampionJudgement:
    """Judge every measure of the champion.

    Args:
        shop: the figures by hour.
        moves: the moves of the ledger, oldest first.
        limits: how strict the guardrails are.
    """
    version, until = standing(moves).champion, shop.complete_until
    since = None if version is None else shop.begins(version)
    if version is None or since is None or until <= since:
        why = "no version serves." if version is None else "its lists have no complete hour yet."
        return ChampionJudgement(version, since, until, (), why_unjudged=why)
    if until - since > limits.watch_hours:
        why = f"it has served for more than {limits.watch_hours:g} hours."
        return ChampionJudgement(version, since, until, (), why_unjudged=why)
    promotions = len(shop.champions_between(since - HISTORY, since)) * 52 * WEEK / HISTORY
    judge = _Judge(
        shop=shop,
        chosen=_without_rolled_back(shop, moves, version, since),
        version=version,
        since=since,
        until=until,
        limits=limits,
        alpha=limits.alpha(promotions),
    )
    judged = tuple(judge.check_of(MEASURES[name]) for name in limits.measures)
    return ChampionJudgement(version, since, until, judged, held_back(shop, moves, limits))


def _without_rolled_back(shop: ShopHours, moves: Iterable[Move], version: str, since: int) -> Mask:
    """Choose the lists of champions before a version, and its own; without the lists of bad versions."""
    names = shop.versions()
    chosen: Mask = shop.of_champions() & ((shop.hours < since) | (names == version))
    for bad in rolled_back_versions(moves):
        chosen &= names != bad
    return chosen


def held_back(shop: ShopHours | None, moves: Sequence[Move], limits: GuardrailLimits) -> str:
    """Return why a rollback may not follow; empty if it may.

    Args:
        shop: the figures by hour; None = there are none yet.
        moves: the moves of the ledger, oldest first.
        limits: how strict the guardrails are.
    """
    last = next((move for move in reversed(moves) if move.action == PROMOTE or returns(move)), None)
    if last is None:
        return "No version serves."
    if not limits.roll_back:
        return "The rules say that guardrails only report (roll_back: false)."
    if returns(last):
        return (
            f"Version {last.to_version} serves because {last.actor} returned to it: guardrails never roll "
            "back to and fro."
        )
    if standing(moves).previous is None:
        return "No version served before: there is no version to return to."
    return "" if shop is None else _cooling_down(shop, moves, limits)


def _cooling_down(shop: ShopHours, moves: Sequence[Move], limits: GuardrailLimits) -> str:
    """Say that a rollback was a short time ago; empty if none was."""
    for bad, back in rolled_back_versions(moves).items():
        served = shop.hours[shop.of_champions() & (shop.versions() == bad)]
        if len(served) and shop.complete_until - int(served.max()) <= limits.cooldown_hours:
            return (
                f"Version {bad} was rolled back by {back.actor} less than {limits.cooldown_hours:g} hours "
                "ago: the guardrails wait before the next rollback."
            )
    return ""


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """Judges the measures of one version.

    Attributes:
        shop: the figures by hour.
        chosen: the lists of the version, and of the champions before it.
        version: the version.
        since: its first hour.
        until: the hour after the last that counts.
        limits: how strict the guardrails are.
        alpha: the probability that an interval misses the truth at any look.
    """

    shop: ShopHours
    chosen: Mask
    version: str
    since: int
    until: int
    limits: GuardrailLimits
    alpha: float

    def check_of(self, measure: Measure) -> Check:
        """Judge one measure."""
        series = self.shop.series(measure, self.chosen)
        asked = f"no sure drop of {self.limits.smallest_drop:.1%} or more"
        baseline = fit_baseline(series.between(self.since - HISTORY, self.since))
        if baseline is None:
            reason = (
                f"{measure.name} is not judged: it needs {LEAST_DAYS} days with counts before version "
                f"{self.version}."
            )
            return Check(measure.name, passed=False, reason=reason, threshold=asked, verdict=OPEN)
        drop = drop_of(measure, baseline, series, (self.since, self.until), self.alpha)
        if drop is None:
            reason = f"{measure.name} is not judged: version {self.version} has no counts of it yet."
            return Check(measure.name, passed=False, reason=reason, threshold=asked, verdict=OPEN)
        said = (
            f"{measure.name} of version {self.version} changed by {drop}, against the same hours of the "
            f"weeks before, in {self.until - self.since} hours since "
            f"{moment_of(self.since):%Y-%m-%d %H:%M} UTC."
        )
        passed = not drop.is_sure or drop.value < self.limits.smallest_drop
        excuse = "" if passed else self._began_before(measure, series) or self._others_dropped(measure, drop)
        return Check(
            measure.name,
            passed=passed,
            reason=f"{said} {excuse}".strip(),
            value=drop.sign * drop.change.value,
            threshold=asked,
            verdict=REPORTED if excuse else None,
        )

    def _began_before(self, measure: Measure, series: Series) -> str:
        """Say that the drop began before the version; empty if it did not."""
        for hours in _EARLIER:
            earlier = self.since - hours
            baseline = fit_baseline(series.between(earlier - HISTORY, earlier))
            change = baseline and change_since(baseline, series, earlier, self.since)
            if change and measure.sign * change.value < -_EARLIER_DEVIATIONS * change.variance**0.5:
                return (
                    f"The {hours} hours before the version show that already ({change.value:+.1%}): a "
                    "rollback would not help."
                )
        return ""

    def _others_dropped(self, measure: Measure, drop: Drop) -> str:
        """Say that the lists of others dropped as well; empty if not, or if they are too few to tell."""
        champions = self.shop.champions_between(self.since - HISTORY, self.until)
        others = self.shop.of_others({self.version, *champions})
        if not others.any():
            return ""
        series = self.shop.series(measure, others, by=_OF_OTHERS)
        baseline = fit_baseline(series.between(self.since - HISTORY, self.since))
        change = baseline and change_since(baseline, series, self.since, self.until)
        if not change or change.variance > _AS_WELL_KNOWN * drop.change.variance:
            return ""
        better = Change(measure.sign * change.value, change.variance)
        if drop.change.minus(better).interval(self.alpha)[1] < 0:
            return ""
        return (
            f"The lists that no champion made changed by {change.value:+.1%} in these hours: the shop "
            "changed, and a rollback would not help."
        )
