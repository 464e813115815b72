"""The anchor: a version that served, with which the gate compares every candidate beside the champion.

The champion moves with every promotion. If each candidate is a little worse than the champion before it, and
too little for one evaluation to show it, the losses add up. The anchor stays where it is, so the sum of the
losses shows. It moves only to a champion that is surely better, by hours that had no part in the promotion of
that champion: the hours that promoted a champion flatter it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lastaisle.evaluation.pooling import pooled, widened
from lastaisle.evaluation.report import stored_report
from lastaisle.registry.ledger import ANCHOR, DECISIONS, PROMOTE, REFUSE, Ledger, Move, origin_of, returns
from lastaisle.release.gate import GateRules

if TYPE_CHECKING:
    from lastaisle.evaluation.report import Estimate, EvaluationReport
    from lastaisle.registry.registry import Registry

MOST_DECISIONS = 30  # at most so many decisions are read again for the champion's differences to the anchor


def later_differences(
    report: EvaluationReport, moves: Sequence[Move], registry: Registry, rules: GateRules
) -> list[Estimate]:
    """Return the champion's differences to the anchor since its promotion, one for each stretch of hours.

    They come from the evaluations of the candidates since then, promoted or not, with this one as the last.
    Hours that promoted the champion do not count, nor do hours that an earlier evaluation has counted.

    Args:
        report: the evaluation of the candidate.
        moves: the moves of the ledger up to the decision on the candidate, oldest first.
        registry: where the reports are.
        rules: the rules of the gate.
    """
    if report.champion is None or report.anchor is None:
        return []
    since = [move for move in moves if move.action in (PROMOTE, REFUSE) or returns(move)]
    while since and not (since[-1].to_version == report.champion_version and since[-1].action != REFUSE):
        since.pop()
    if not since:
        return []
    promoted = stored_report(since[-1].run_id, registry)
    until = promoted.evaluated_to if promoted else since[-1].moved_at
    differences = []
    for each in _evaluations_after(since[-1], report, moves, registry):
        if _same_models(each, report) and each.evaluated_from >= until:
            scores = each.served_scores("champion")
            differences.append(scores.against["anchor"][rules.metric])
            until = each.evaluated_to
    return differences


def _evaluations_after(
    promotion: Move, report: EvaluationReport, moves: Sequence[Move], registry: Registry
) -> Iterator[EvaluationReport]:
    """Yield the reports of the candidates that the gate decided on after a promotion, and then this one."""
    later = [move for move in moves[moves.index(promotion) + 1 :] if move.action in DECISIONS]
    for move in later[-MOST_DECISIONS:]:
        each = stored_report(move.run_id, registry) if move.run_id != report.run_id else None
        if each is not None:
            yield each
    yield report


def _same_models(one: EvaluationReport, other: EvaluationReport) -> bool:
    """Tell whether two reports compare the same champion with the same anchor, by the same lists."""
    if one.anchor is None or other.anchor is None:
        return False
    return (one.champion_version, one.anchor.version, one.served) == (
        other.champion_version,
        other.anchor.version,
        other.served,
    )


def surpassed(later: Sequence[Estimate], rules: GateRules) -> Estimate | None:
    """Return the champion's difference to the anchor if the champion is surely better; else None.

    Args:
        later: the champion's differences to the anchor, on hours after the hours that promoted it.
        rules: the rules of the gate.
    """
    mean = pooled(later, rules.level)
    if mean is None:
        return None
    strict = widened(mean, rules.anchor_level, rules.level)
    return strict if strict.low > 0 else None


def move_anchor(
    report: EvaluationReport, ledger: Ledger, registry: Registry, rules: GateRules, *, actor: str
) -> None:
    """Write a move of the anchor into the ledger if the anchor has to move after the decision on a candidate.

    A second call writes nothing, nor does a call after the gate has decided on another candidate.
    """
    moves = ledger.moves()
    decisions = [move for move in moves if move.action in DECISIONS or returns(move)]
    if not decisions or decisions[-1].run_id != report.run_id or returns(decisions[-1]):
        return
    standing, later = ledger.standing(), later_differences(report, moves, registry, rules)
    target, reason = _target(report, later, standing.champion, standing.anchor, rules)
    if target is None or target == standing.anchor:
        return
    origin = origin_of(moves, target)
    assert origin is not None, "it served"
    ledger.write(
        Move(
            move_id=f"{report.run_key}/{report.run_id}/{target}/anchor",
            moved_at=datetime.now(UTC),
            actor=actor,
            action=ANCHOR,
            model_name=origin.model_name,
            alias="anchor",
            from_version=standing.anchor,
            to_version=target,
            reason=reason,
            run_id=origin.run_id,
            run_key=origin.run_key,
        )
    )


def _target(
    report: EvaluationReport,
    later: Sequence[Estimate],
    champion: str | None,
    anchor: str | None,
    rules: GateRules,
) -> tuple[str | None, str]:
    """Return the version that has to be the anchor after the decision, and the reason."""
    judge = report.champion_version or champion  # the gate took the champion for the anchor
    if anchor is None:
        return judge, "No version was the anchor."
    if report.anchor is None and anchor != judge:
        return judge, f"Version {anchor}, the anchor, could not be scored beside the candidate."
    better = surpassed(later, rules)
    if better is None or report.anchor is None or report.anchor.version != anchor:
        return anchor, ""
    return report.champion_version, (
        f"Version {report.champion_version} is surely better than version {anchor} in {rules.metric}, on "
        f"hours after its promotion: difference {better.value:+.4f}, {rules.anchor_level:.0%} interval "
        f"[{better.low:+.4f}, {better.high:+.4f}], evaluations: {len(later)}."
    )
