"""The gate: may the candidate serve? A pure function on what the evaluation measured."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastaisle.evaluation.report import CHURN, PAIRED_LEVEL, Evaluation, Scores

if TYPE_CHECKING:
    from lastaisle.settings import Settings


@dataclass(frozen=True)
class GateRules:
    """When a candidate may replace the champion.

    A fresher model that is as good is preferable, since the shop moves on; so the candidate has to be not
    worse than the champion by more than `margin` (non-inferiority), not better. With 1,000 targets the
    paired difference in recall@20 has a standard error of about 0.011: scaled from two evaluations on a week
    of YooChoose clicks, each of a champion and its warm start a day later on some 2,000 targets. At a `level`
    of 0.8 (one-sided error: 10 %) a normal error of that size and a margin of 0.02 let 7 of 10 equal
    candidates through and 9 of 10 that are 0.01 better, yet 1 of 10 that are 0.02 worse and 1 of 1,000 that
    are 0.04 worse. More targets sharpen it both ways.

    Attributes:
        metric: what is compared.
        min_targets: fewer evaluation targets decide nothing, so the champion stays.
        level: level of the paired bootstrap intervals.
        margin: the lower end of the interval of (candidate - champion) has to lie above minus this.
        slice_min_targets: slices with fewer targets are reported only: chance alone moves them too far.
        slice_limit: no slice may drop by more than this, with its interval below zero.
        coverage_metric: how much of the catalogue is ever shown.
        coverage_floor: the candidate's coverage has to reach this share of the champion's.
        max_churn: no warm start may change a greater share of the champion's lists of 20 (mean over targets);
            None = it is not judged, as of trainings from scratch, which are asked for so that lists change.
        max_quarantined: of the rows that the evaluation sessions came with, no greater share may lie in
            quarantine: what is left of a broken feed is not what shoppers did, however well it is foreseen.
    """

    metric: str = "recall@20"
    min_targets: int = 200
    level: float = PAIRED_LEVEL
    margin: float = 0.02
    slice_min_targets: int = 200
    slice_limit: float = 0.08
    coverage_metric: str = "coverage@20"
    coverage_floor: float = 0.7
    max_churn: float | None = 0.7
    max_quarantined: float = 0.2

    @classmethod
    def of(cls, settings: Settings) -> GateRules:
        """Return the rules of an installation."""
        return cls(max_churn=settings.max_churn, max_quarantined=settings.max_quarantined)


@dataclass(frozen=True)
class Check:
    """One rule applied.

    Attributes:
        name: which rule.
        passed: whether the candidate keeps it.
        reason: a sentence with the numbers.
    """

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Decision:
    """What the gate decided, and why.

    Attributes:
        promote: whether the candidate becomes champion.
        checks: every rule that was applied, in order.
    """

    promote: bool
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences that decided: the broken rules of a refusal, all rules of a promotion."""
        return tuple(check.reason for check in self.checks if self.promote or not check.passed)

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Decision:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        return cls(data["promote"], tuple(Check(**check) for check in data["checks"]))


def decide(
    candidate: Evaluation,
    champion: Evaluation | None,
    rules: GateRules | None = None,
    quarantined: float | None = None,
) -> Decision:
    """Decide whether the candidate becomes champion.

    Both were measured on the same targets. Without a champion the candidate has only to beat the popularity
    baseline, on enough targets.

    Args:
        candidate: its evaluation.
        champion: the champion's; None without one.
        rules: default those of GateRules.
        quarantined: share of the rows in quarantine (see evaluation/feed.py); None = not known, not judged.
    """
    rules = rules or GateRules()
    checks = [_beats_popularity(candidate, rules)]
    if champion is not None:  # what it was held against comes first: readers see the first reason
        checks.insert(0, _not_worse(candidate, champion, rules))
        checks.extend(_slices(candidate, champion, rules))
        checks.append(_covers(candidate, champion, rules))
        checks.extend(_changes_little(candidate, champion, rules))
        checks.extend(_sound_feed(quarantined, rules))
    checks.append(_enough_targets(candidate, rules))
    return Decision(all(check.passed for check in checks), tuple(checks))


def _enough_targets(candidate: Evaluation, rules: GateRules) -> Check:
    targets = candidate.overall.targets
    passed = targets >= rules.min_targets
    verdict = "enough" if passed else "too few"
    return Check(
        "enough_targets",
        passed,
        f"{targets:,} evaluation targets are {verdict} to decide on (at least {rules.min_targets:,}).",
    )


def _beats_popularity(candidate: Evaluation, rules: GateRules) -> Check:
    difference = candidate.overall.against["popularity"][rules.metric]
    passed = difference.low > 0
    verdict = "beats" if passed else "does not beat"
    return Check(
        "beats_popularity",
        passed,
        f"{_label(candidate)} {verdict} the popularity baseline in {rules.metric}: "
        f"{_difference(candidate.overall, 'popularity', rules)}, whose lower end has to lie above 0.",
    )


def _not_worse(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Check:
    difference = candidate.overall.against["champion"][rules.metric]
    passed = difference.low > -rules.margin
    verdict = "is not worse than" if passed else "may be worse than"
    return Check(
        "not_worse_than_champion",
        passed,
        f"{_label(candidate)} {verdict} {_label(champion)} in {rules.metric} "
        f"({candidate.overall.metrics[rules.metric].value:.4f} against "
        f"{champion.overall.metrics[rules.metric].value:.4f}): "
        f"{_difference(candidate.overall, 'champion', rules)}, whose lower end has to lie above "
        f"{-rules.margin:+.4f}.",
    )


def _slices(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Iterator[Check]:
    """Check each slice with enough targets, so that a good mean hides no group that suffers."""
    for name, scores in sorted(candidate.slices.items()):
        if scores.targets < rules.slice_min_targets:
            continue
        difference = scores.against["champion"][rules.metric]
        passed = difference.value >= -rules.slice_limit or difference.high >= 0
        verdict = "holds" if passed else "drops too far"
        yield Check(
            f"slice_{name}",
            passed,
            f"{rules.metric} of slice {name} ({scores.targets:,} targets) {verdict} against "
            f"{_label(champion)}: {_difference(scores, 'champion', rules)}, where a drop beyond "
            f"{rules.slice_limit:.4f} with an interval below 0 is refused.",
        )


def _covers(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Check:
    reached = candidate.overall.metrics[rules.coverage_metric].value
    floor = rules.coverage_floor * champion.overall.metrics[rules.coverage_metric].value
    passed = reached >= floor
    verdict = "is wide enough" if passed else "is too narrow"
    return Check(
        "coverage",
        passed,
        f"{rules.coverage_metric} of {_label(candidate)} {verdict}: {reached:.4f}, where "
        f"{rules.coverage_floor:.0%} of {_label(champion)}'s is {floor:.4f}.",
    )


def _changes_little(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Iterator[Check]:
    """Check that shoppers do not meet another shop; reports of old measured no churn."""
    churn = candidate.overall.against["champion"].get(CHURN)
    if churn is None or rules.max_churn is None:
        return
    passed = churn.value <= rules.max_churn
    verdict = "stay close enough to" if passed else "differ too much from"
    yield Check(
        "churn",
        passed,
        f"The lists of {_label(candidate)} {verdict} those of {_label(champion)}: of 20 items "
        f"{20 * churn.value:.1f} are others ({CHURN} {churn.value:.4f}, {rules.level:.0%} interval "
        f"[{churn.low:.4f}, {churn.high:.4f}]), where at most {rules.max_churn:.4f} may change.",
    )


def _sound_feed(quarantined: float | None, rules: GateRules) -> Iterator[Check]:
    """Check that what judges is not the rest of a broken feed."""
    if quarantined is None:
        return
    passed = quarantined <= rules.max_quarantined
    yield Check(
        "sound_feed",
        passed,
        f"{quarantined:.1%} of the rows that the evaluation sessions came with lie in quarantine, where at "
        f"most {rules.max_quarantined:.1%} may.",
    )


def _label(evaluation: Evaluation) -> str:
    return f"{evaluation.name} (version {evaluation.version})" if evaluation.version else evaluation.name


def _difference(scores: Scores, other: str, rules: GateRules) -> str:
    difference = scores.against[other][rules.metric]
    return (
        f"difference {difference.value:+.4f}, {rules.level:.0%} interval "
        f"[{difference.low:+.4f}, {difference.high:+.4f}]"
    )
