"""The gate decides whether a candidate may serve: a pure function of the evaluation's scores."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from lastaisle.evaluation.report import CHURN, PAIRED_LEVEL, Evaluation, Scores

if TYPE_CHECKING:
    from lastaisle.settings import Settings


@dataclass(frozen=True)
class GateRules:
    """The rules by which a candidate may replace the champion.

    Shops change, so a newer model that is as good as the champion is preferable. The candidate therefore need
    not be better than the champion; it may be worse by at most `margin` (non-inferiority).

    With 1,000 targets the paired difference in recall@20 has a standard error of about 0.011. This figure is
    scaled from two evaluations on a week of YooChoose clicks; each compared a champion with its warm start a
    day later on some 2,000 targets. Assume a normal error of that size, a `level` of 0.8 (one-sided error:
    10 %) and a margin of 0.02. Then the gate promotes 7 of 10 candidates that equal the champion and 9 of 10
    that are 0.01 better, but 1 of 10 that are 0.02 worse and 1 of 1,000 that are 0.04 worse. More targets
    improve both.

    Attributes:
        metric: the metric that the gate compares.
        min_targets: with fewer evaluation targets the champion stays.
        level: level of the paired bootstrap intervals.
        margin: the lower end of the interval of (candidate - champion) has to lie above minus this.
        slice_min_targets: slices with fewer targets are only reported: chance moves them too far.
        slice_limit: no slice may drop by more than this while its interval lies below zero.
        coverage_metric: the metric for the share of the catalogue that is ever shown.
        coverage_floor: the candidate's coverage has to reach this share of the champion's.
        max_churn: a warm start may change at most this share of the champion's lists of 20 (mean over
            targets). None = churn is not judged: people ask for a training from scratch so that lists change.
        max_quarantined: at most this share of the rows that came with the evaluation sessions may lie in
            quarantine. The rest of a broken feed does not show what shoppers did, even if it is predicted
            well.
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
        return cls(max_churn=settings.gate.max_churn, max_quarantined=settings.gate.max_quarantined)


# The checks that ask whether the evaluation can judge at all; the others ask how good the candidate is.
CHECKS_OF_THE_DATA = frozenset({"enough_targets", "sound_feed"})


@dataclass(frozen=True)
class Check:
    """The outcome of one rule.

    Attributes:
        name: name of the rule.
        passed: whether the candidate keeps the rule.
        reason: a sentence with the numbers.
        about_evidence: whether the rule asks if the evidence suffices for a judgement. Such a rule says
            nothing about the candidate.
    """

    name: str
    passed: bool
    reason: str
    about_evidence: bool = False


@dataclass(frozen=True)
class Decision:
    """The decision of the gate, with its reasons.

    Attributes:
        promote: whether the candidate becomes champion.
        checks: the outcome of every rule, in order.
    """

    promote: bool
    checks: tuple[Check, ...]

    @property
    def judged(self) -> bool:
        """Whether the evidence sufficed; False = too few targets or a broken feed, whatever the candidate."""
        return all(check.passed for check in self.checks if check.about_evidence)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences behind the decision: the broken rules of a refusal, all rules of a promotion."""
        return tuple(check.reason for check in self.checks if self.promote or not check.passed)

    @property
    def is_about_the_model(self) -> bool:
        """Whether the decision says how good the candidate is: the data sufficed, and the feed was sound."""
        return all(check.passed or check.name not in CHECKS_OF_THE_DATA for check in self.checks)

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Decision:
        """Read the JSON that `to_json` wrote."""
        return TypeAdapter(cls).validate_json(text)


def decide(
    candidate: Evaluation,
    champion: Evaluation | None,
    rules: GateRules | None = None,
    quarantined: float | None = None,
) -> Decision:
    """Decide whether the candidate becomes champion.

    Candidate and champion were measured on the same targets. Without a champion the candidate only has to
    beat the popularity baseline, on enough targets.

    Args:
        candidate: the candidate's evaluation.
        champion: the champion's evaluation; None without a champion.
        rules: the rules; default `GateRules()`.
        quarantined: share of quarantined rows (see evaluation/quarantine.py); None = unknown, so not judged.
    """
    rules = rules or GateRules()
    checks = [_beats_popularity(candidate, rules)]
    if champion is not None:  # the comparison with the champion comes first: readers see the first reason
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
        f"{targets:,} evaluation targets are {verdict} for a decision (at least {rules.min_targets:,}).",
        about_evidence=True,
    )


def _beats_popularity(candidate: Evaluation, rules: GateRules) -> Check:
    difference = candidate.overall.against["popularity"][rules.metric]
    passed = difference.low > 0
    verdict = "beats" if passed else "does not beat"
    return Check(
        "beats_popularity",
        passed,
        f"{_label(candidate)} {verdict} the popularity baseline in {rules.metric}: "
        f"{_difference(candidate.overall, 'popularity', rules)}. The lower end has to lie above 0.",
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
        f"{_difference(candidate.overall, 'champion', rules)}. The lower end has to lie above "
        f"{-rules.margin:+.4f}.",
    )


def _slices(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Iterator[Check]:
    """Check each slice with enough targets, so that a good mean does not hide a group that loses."""
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
            f"{_label(champion)}: {_difference(scores, 'champion', rules)}. The gate refuses a drop of more "
            f"than {rules.slice_limit:.4f} whose interval lies below 0.",
        )


def _covers(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Check:
    reached = candidate.overall.metrics[rules.coverage_metric].value
    floor = rules.coverage_floor * champion.overall.metrics[rules.coverage_metric].value
    passed = reached >= floor
    verdict = "is wide enough" if passed else "is too narrow"
    return Check(
        "coverage",
        passed,
        f"{rules.coverage_metric} of {_label(candidate)} {verdict}: {reached:.4f}. It has to reach "
        f"{floor:.4f}, which is {rules.coverage_floor:.0%} of the coverage of {_label(champion)}.",
    )


def _changes_little(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Iterator[Check]:
    """Check that the recommendations do not change too much at once; older reports have no churn."""
    churn = candidate.overall.against["champion"].get(CHURN)
    if churn is None or rules.max_churn is None:
        return
    passed = churn.value <= rules.max_churn
    verdict = "stay close enough to" if passed else "differ too much from"
    yield Check(
        "churn",
        passed,
        f"The lists of {_label(candidate)} {verdict} those of {_label(champion)}: "
        f"{20 * churn.value:.1f} of 20 items differ ({CHURN} {churn.value:.4f}, {rules.level:.0%} interval "
        f"[{churn.low:.4f}, {churn.high:.4f}]). At most {rules.max_churn:.4f} may change.",
    )


def _sound_feed(quarantined: float | None, rules: GateRules) -> Iterator[Check]:
    """Check that the evaluation sessions are not the rest of a broken feed."""
    if quarantined is None:
        return
    passed = quarantined <= rules.max_quarantined
    yield Check(
        "sound_feed",
        passed,
        f"{quarantined:.1%} of the rows that came with the evaluation sessions are in quarantine. At most "
        f"{rules.max_quarantined:.1%} may be.",
        about_evidence=True,
    )


def _label(evaluation: Evaluation) -> str:
    return f"{evaluation.name} (version {evaluation.version})" if evaluation.version else evaluation.name


def _difference(scores: Scores, other: str, rules: GateRules) -> str:
    difference = scores.against[other][rules.metric]
    return (
        f"difference {difference.value:+.4f}, {rules.level:.0%} interval "
        f"[{difference.low:+.4f}, {difference.high:+.4f}]"
    )
