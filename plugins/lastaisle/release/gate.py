"""The gate decides whether a candidate may serve: a pure function of the evaluation's scores."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from lastaisle.evaluation.pooling import pooled, widened
from lastaisle.evaluation.report import CHURN, PAIRED_LEVEL, Estimate, Evaluation, Scores
from models.evaluation.objectives import NEXT_ITEM, OBJECTIVES

if TYPE_CHECKING:
    from lastaisle.evaluation.report import EvaluationReport
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.settings import Settings

PASSED, BROKEN, OPEN, REPORTED = "passed", "broken", "open", "reported"
SHARE = "share"  # the rule of a decision table that holds the share of a step
HURDLES = ("popularity", "repeat")  # the baselines that every champion has to beat


@dataclass(frozen=True)
class GateRules:
    """The rules by which a candidate may replace the champion.

    Shops change, so a newer model that is as good as the champion is preferable. The candidate therefore need
    not be better than the champion; it may be worse by at most `margin` (non-inferiority), unless it is
    surely worse.

    Many small losses would add up, since each candidate is compared with the champion that the loss before
    made. So candidates are compared with the anchor as well: a version that served, and that stays the anchor
    until a champion is surely better (see release/anchor.py). docs/learning.md has the figures that
    benchmarks/gate.py finds for these rules.

    Attributes:
        metric: the metric that the gate compares.
        objective: the targets on which it compares: next_item, or new_item if services leave out the items of
            the session.
        min_targets: with fewer evaluation targets the champion stays.
        max_holdout_hours: the hours that judge grow up to this length, for a refusal to say when there will
            be enough targets; see lastaisle.training.holdout.
        level: level of the paired bootstrap intervals.
        margin: the lower end of the interval of (candidate - champion) has to lie above minus this.
        tolerance: a candidate whose whole interval lies below minus this is surely worse, and is refused
            whatever the margin.
        anchor_margin: the estimate of (candidate - anchor) has to reach minus this.
        anchor_level: the anchor moves to a champion that is better by an interval of this level.
        doubt_level: if an interval of this level says that the champion has lost against the anchor since its
            promotion, the candidate has to be better than the anchor by an interval of `anchor_level`.
        objectives: the objectives that no candidate may lose, because a checkout is for them.
        objective_min_targets: objectives with fewer targets are only reported.
        objective_level: a candidate is surely worse in an objective by an interval of this level. It is
            stricter than `level`, because each further rule refuses some equal candidates.
        objective_margin: with an interval narrower than this, the lower end of an objective's difference has
            to lie above minus this.
        slice_min_targets: slices with fewer targets are only reported: chance moves them too far.
        slice_limit: no slice may drop by more than this while its interval lies below zero.
        coverage_metric: the metric for the share of the catalogue that is ever shown.
        coverage_floor: the candidate's coverage has to reach this share of the champion's.
        max_churn: a warm start may change at most this share of the champion's lists of 20 (mean over
            targets). None = churn is not judged: people ask for a training from scratch so that lists change.
        max_quarantined: at most this share of the rows that came with the evaluation sessions may lie in
            quarantine or in refused files. The rest of a broken feed does not show what shoppers did, even if
            it is predicted well.
    """

    metric: str = "recall@20"
    objective: str = NEXT_ITEM
    min_targets: int = 200
    max_holdout_hours: float = 336.0
    level: float = PAIRED_LEVEL
    margin: float = 0.02
    tolerance: float = 0.002
    anchor_margin: float = 0.0
    anchor_level: float = 0.99
    doubt_level: float = 0.6
    objectives: tuple[str, ...] = tuple(OBJECTIVES)
    objective_min_targets: int = 50
    objective_level: float = 0.95
    objective_margin: float = 0.04
    slice_min_targets: int = 200
    slice_limit: float = 0.08
    coverage_metric: str = "coverage@20"
    coverage_floor: float = 0.7
    max_churn: float | None = 0.7
    max_quarantined: float = 0.2

    @classmethod
    def of(cls, settings: Settings) -> GateRules:
        """Return the rules of an installation."""
        return cls(
            min_targets=settings.gate.min_targets,
            max_holdout_hours=settings.learning.max_holdout_hours,
            max_churn=settings.gate.max_churn,
            max_quarantined=settings.gate.max_quarantined,
        )

    def on(self, report: EvaluationReport, plan: TrainingPlan) -> GateRules:
        """Return the rules for one candidate: on its lists, and without churn for a start from scratch."""
        max_churn = None if plan.warm_start_version is None else self.max_churn
        return dataclasses.replace(self, objective=report.served, max_churn=max_churn)


# The checks that ask whether the evaluation can judge at all; the others ask how good the candidate is.
CHECKS_OF_THE_DATA = frozenset({"enough_targets", "sound_feed"})


@dataclass(frozen=True)
class Check:
    """The outcome of one rule.

    Attributes:
        name: name of the rule.
        passed: whether the candidate keeps the rule.
        reason: a sentence with the numbers.
        value: the number that the rule looks at; None if the rule looks at none, and in older decisions.
        threshold: the limit of this number, such as "> -0.0200"; None if there is none.
        verdict: a verdict other than passed and broken: open (the evidence does not suffice yet), or reported
            (broken, but a move would not help); None for the two.
    """

    name: str
    passed: bool
    reason: str
    value: float | None = None
    threshold: str | None = None
    verdict: str | None = None

    @property
    def says(self) -> str:
        """The verdict in a word."""
        return self.verdict or (PASSED if self.passed else BROKEN)


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
        return all(check.passed or check.name not in CHECKS_OF_THE_DATA for check in self.checks)

    @property
    def takes_step(self) -> bool:
        """Whether the candidate becomes shadow or canary before it is champion."""
        return any(check.name == SHARE for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences behind the decision: the broken rules of a refusal, all rules of a promotion."""
        return tuple(check.reason for check in self.checks if self.promote or not check.passed)

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
    *,
    refused_files: int = 0,
    anchor: Evaluation | None = None,
    later: Sequence[Estimate] = (),
    hours: float | None = None,
) -> Decision:
    """Decide whether the candidate becomes champion.

    All models were measured on the same targets. Without a champion the candidate only has to beat the
    baselines, on enough targets.

    Args:
        candidate: the candidate's evaluation.
        champion: the champion's evaluation; None without a champion.
        rules: the rules; default `GateRules()`.
        quarantined: share of the rows in quarantine and in refused files (see evaluation/quarantine.py);
            None = unknown, so not judged.
        refused_files: the number of these refused files.
        anchor: the anchor's evaluation; None = the champion is the anchor.
        later: the champion's differences to the anchor, on hours after the hours that promoted the champion.
        hours: the length of the hours that judged; None = unknown.
    """
    rules = rules or GateRules()
    scores = candidate.objectives.get(rules.objective)
    if scores is None:
        return Decision(False, (_enough_targets(0, rules, hours),))
    checks = list(_beats_baselines(candidate, scores, rules))
    if champion is not None:  # the comparison with the champion comes first: readers see the first reason
        checks.insert(0, _not_worse(candidate, champion, rules))
        checks.insert(1, _not_worse_than_anchor(candidate, anchor or champion, rules, later))
        checks.extend(_objectives(candidate, champion, rules))
        checks.extend(_slices(candidate, champion, rules))
        checks.append(_covers(candidate, champion, rules))
        checks.extend(_changes_little(candidate, champion, rules))
        checks.extend(_sound_feed(quarantined, refused_files, rules))
    checks.append(_enough_targets(scores.targets, rules, hours))
    return Decision(all(check.passed for check in checks), tuple(checks))


def _enough_targets(targets: int, rules: GateRules, hours: float | None) -> Check:
    passed = targets >= rules.min_targets
    verdict = "enough" if passed else "too few"
    reason = f"{targets:,} evaluation targets are {verdict} for a decision (at least {rules.min_targets:,})."
    missing = "" if passed else _missing(targets, rules, hours)
    return Check("enough_targets", passed, reason + missing, targets, f">= {rules.min_targets}")


def _missing(targets: int, rules: GateRules, hours: float | None) -> str:
    """Say how many targets are missing, and when there will be enough of them at the present pace."""
    said = f" Missing: {rules.min_targets - targets:,}."
    if hours is None or targets == 0:
        return said
    wanted = hours * rules.min_targets / targets
    said += f" The last {hours:,.0f} hours had {24 * targets / hours:,.0f} a day."
    if wanted > rules.max_holdout_hours:
        return (
            f"{said} At this pace, {rules.min_targets:,} take {wanted:,.0f} hours, but at most "
            f"{rules.max_holdout_hours:,.0f} hours judge: raise LASTAISLE_MAX_HOLDOUT_HOURS, or lower "
            "LASTAISLE_MIN_TARGETS."
        )
    # Half of the hours judge and the other half trains, so two hours of events make one hour that judges.
    return f"{said} At this pace, there are enough in about {2 * (wanted - hours) / 24:,.1f} days."


def _beats_baselines(candidate: Evaluation, scores: Scores, rules: GateRules) -> Iterator[Check]:
    """Check that the candidate beats what needs no training; older reports lack the baseline `repeat`."""
    for baseline in (name for name in HURDLES if name in scores.against):
        difference = scores.against[baseline][rules.metric]
        passed = difference.low > 0
        verdict = "beats" if passed else "does not beat"
        yield Check(
            f"beats_{baseline}",
            passed,
            f"{_label(candidate)} {verdict} the {baseline} baseline in {rules.metric}: "
            f"{_difference(difference, rules)}. The lower end has to lie above 0.",
            difference.low,
            "> 0",
        )


def _not_worse(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Check:
    ours, theirs = candidate.objectives[rules.objective], champion.objectives[rules.objective]
    difference = ours.against["champion"][rules.metric]
    passed = difference.low > -rules.margin and difference.high >= -rules.tolerance
    verdict = "is not worse than" if passed else "may be worse than"
    if difference.high < -rules.tolerance:
        verdict = "is surely worse than"
    return Check(
        "not_worse_than_champion",
        passed,
        f"{_label(candidate)} {verdict} {_label(champion)} in {rules.metric} "
        f"({ours.metrics[rules.metric].value:.4f} against {theirs.metrics[rules.metric].value:.4f}): "
        f"{_difference(difference, rules)}. The lower end has to lie above {-rules.margin:+.4f}, and the "
        f"upper end may not lie below {-rules.tolerance:+.4f}.",
        *(
            (difference.high, f">= {-rules.tolerance:.4f}")
            if difference.high < -rules.tolerance
            else (difference.low, f"> {-rules.margin:.4f}")
        ),
    )


def _not_worse_than_anchor(
    candidate: Evaluation, anchor: Evaluation, rules: GateRules, later: Sequence[Estimate]
) -> Check:
    """Check against the version that does not move with the champion, so that small losses do not add up."""
    difference = candidate.objectives[rules.objective].against[anchor.name][rules.metric]
    strict = widened(difference, rules.anchor_level, rules.level)
    since = pooled(later, rules.level)
    doubted = since is not None and widened(since, rules.doubt_level, rules.level).high < 0
    passed = strict.low > 0 if doubted else difference.value >= -rules.anchor_margin
    verdict = "is level with" if passed else "falls behind"
    asked = f"The estimate has to be at least {0 - rules.anchor_margin:.4f}."
    if since is not None and doubted:
        asked = (
            f"The lower end of the {rules.anchor_level:.0%} interval has to lie above 0, and it is "
            f"{strict.low:+.4f}: the champion has lost against the anchor since its promotion "
            f"({_difference(since, rules)}, evaluations: {len(later)})."
        )
    return Check(
        "not_worse_than_anchor",
        passed,
        f"{_label(candidate)} {verdict} the anchor, {_label(anchor)}, in {rules.metric}: "
        f"{_difference(difference, rules)}. {asked}",
        *((strict.low, "> 0") if doubted else (difference.value, f">= {0 - rules.anchor_margin:.4f}")),
    )


def _objectives(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Iterator[Check]:
    """Check the objectives that a checkout is for, as far as their targets allow."""
    for name in rules.objectives:
        scores = candidate.objectives.get(name)
        if name == rules.objective or scores is None or scores.targets < rules.objective_min_targets:
            continue
        difference = scores.against["champion"][rules.metric]
        highest = widened(difference, rules.objective_level, rules.level).high
        surely_worse = highest < -rules.tolerance
        narrow = difference.high - difference.low < rules.objective_margin
        passed = not surely_worse and (not narrow or difference.low > -rules.objective_margin)
        verdict = "holds" if passed else "is surely worse" if surely_worse else "may be worse"
        yield Check(
            f"objective_{name}",
            passed,
            f"{rules.metric} of {name} ({scores.targets:,} targets) {verdict} against {_label(champion)}: "
            f"{_difference(difference, rules)}. The gate refuses if the {rules.objective_level:.0%} interval "
            f"lies below {-rules.tolerance:+.4f}. If the interval here is narrower than "
            f"{rules.objective_margin:.4f}, its lower end has to lie above {-rules.objective_margin:+.4f}.",
            *(
                (difference.low, f"> {-rules.objective_margin:.4f}")
                if narrow and not surely_worse
                else (highest, f">= {-rules.tolerance:.4f}")
            ),
        )


def _slices(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Iterator[Check]:
    """Check each slice with enough targets, so that a good mean does not hide a group that loses."""
    for name, scores in sorted(candidate.slices.items()):
        if scores.targets < rules.slice_min_targets or name in (rules.objective, *rules.objectives):
            continue
        difference = scores.against["champion"][rules.metric]
        passed = difference.value >= -rules.slice_limit or difference.high >= 0
        verdict = "holds" if passed else "drops too far"
        yield Check(
            f"slice_{name}",
            passed,
            f"{rules.metric} of slice {name} ({scores.targets:,} targets) {verdict} against "
            f"{_label(champion)}: {_difference(difference, rules)}. The gate refuses a drop of more "
            f"than {rules.slice_limit:.4f} whose interval lies below 0.",
            difference.value,
            f">= {-rules.slice_limit:.4f}",
        )


def _covers(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Check:
    ours, theirs = candidate.objectives[rules.objective], champion.objectives[rules.objective]
    reached = ours.metrics[rules.coverage_metric].value
    floor = rules.coverage_floor * theirs.metrics[rules.coverage_metric].value
    passed = reached >= floor
    verdict = "is wide enough" if passed else "is too narrow"
    return Check(
        "coverage",
        passed,
        f"{rules.coverage_metric} of {_label(candidate)} {verdict}: {reached:.4f}. It has to reach "
        f"{floor:.4f}, which is {rules.coverage_floor:.0%} of the coverage of {_label(champion)}.",
        reached,
        f">= {floor:.4f}",
    )


def _changes_little(candidate: Evaluation, champion: Evaluation, rules: GateRules) -> Iterator[Check]:
    """Check that the recommendations do not change too much at once; older reports have no churn."""
    churn = candidate.objectives[rules.objective].against["champion"].get(CHURN)
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
        churn.value,
        f"<= {rules.max_churn:.4f}",
    )


def _sound_feed(quarantined: float | None, refused_files: int, rules: GateRules) -> Iterator[Check]:
    """Check that the evaluation sessions are not the rest of a broken feed."""
    if quarantined is None:
        return
    passed = quarantined <= rules.max_quarantined
    plural = "" if refused_files == 1 else "s"
    files = (
        f", or in {refused_files:,} file{plural} that the table refused_files names" if refused_files else ""
    )
    yield Check(
        "sound_feed",
        passed,
        f"{quarantined:.1%} of the rows that came with the evaluation sessions are in quarantine{files}. "
        f"At most {rules.max_quarantined:.1%} may be.",
        quarantined,
        f"<= {rules.max_quarantined:.4f}",
    )


def _label(evaluation: Evaluation) -> str:
    return f"{evaluation.name} (version {evaluation.version})" if evaluation.version else evaluation.name


def _difference(difference: Estimate, rules: GateRules) -> str:
    return (
        f"difference {difference.value:+.4f}, {rules.level:.0%} interval "
        f"[{difference.low:+.4f}, {difference.high:+.4f}]"
    )
