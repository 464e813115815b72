"""The gate decides on hand-made evaluations: each broken rule alone leads to a refusal."""

import dataclasses

import pytest

from lastaisle.evaluation.report import Estimate, Evaluation, Scores
from lastaisle.release.anchor import surpassed
from lastaisle.release.gate import Decision, GateRules, decide


def exactly(value):
    return Estimate(value, value, value)


EQUAL = Estimate(0.0, -0.015, 0.015)
BETTER = Estimate(0.4, 0.37, 0.43)


def scores(targets=1000, recall=0.60, champion=EQUAL, popularity=BETTER):
    return Scores(
        targets=targets,
        metrics={"recall@20": exactly(recall), "coverage@20": exactly(0.5)},
        against={"champion": {"recall@20": champion}, "popularity": {"recall@20": popularity}},
    )


def candidate(slices=None, **changes):
    return Evaluation("candidate", scores(**changes), slices or {})


CHAMPION = Evaluation("champion", scores(), version="3")


def broken(decision):
    return [check.name for check in decision.checks if not check.passed]


def test_a_candidate_that_equals_the_champion_is_promoted():
    decision = decide(candidate(), CHAMPION)
    assert decision.promote
    assert broken(decision) == []


@pytest.mark.parametrize(
    ("low", "promoted"),
    [(-0.0199, True), (-0.02, False), (0.01, True)],
)
def test_the_lower_end_of_the_difference_decides(low, promoted):
    decision = decide(candidate(champion=Estimate(low + 0.02, low, low + 0.04)), CHAMPION)
    assert decision.promote is promoted
    assert broken(decision) == ([] if promoted else ["not_worse_than_champion"])


@pytest.mark.parametrize(("high", "passed"), [(-0.0021, False), (-0.0019, True)])
def test_a_candidate_that_is_surely_worse_is_refused_whatever_the_margin(high, passed):
    decision = decide(candidate(champion=Estimate(high - 0.002, high - 0.004, high)), CHAMPION)
    assert ("not_worse_than_champion" not in broken(decision)) is passed


ANCHOR = Evaluation("anchor", scores(), version="2")


def beside_anchor(value, error=0.01):
    """Return a candidate that equals the champion, with this difference to the anchor."""
    known = candidate().overall
    estimate = Estimate(value, value - 1.2816 * error, value + 1.2816 * error)
    return Evaluation(
        "candidate", dataclasses.replace(known, against={**known.against, "anchor": {"recall@20": estimate}})
    )


@pytest.mark.parametrize(("value", "promoted"), [(-0.0001, False), (0.0, True), (0.02, True)])
def test_a_candidate_may_not_fall_behind_the_anchor(value, promoted):
    decision = decide(beside_anchor(value), CHAMPION, anchor=ANCHOR)
    assert broken(decision) == ([] if promoted else ["not_worse_than_anchor"])
    assert "anchor (version 2)" in decision.checks[1].reason
    alone = decide(candidate(champion=Estimate(value, value - 0.01, value + 0.01)), CHAMPION)
    assert alone.promote is promoted, "without another anchor the champion is the anchor"


def test_after_a_champion_has_lost_against_the_anchor_the_candidate_has_to_be_surely_better():
    lost = [Estimate(-0.01, -0.024, 0.004)] * 2
    assert decide(beside_anchor(0.01), CHAMPION, anchor=ANCHOR, later=lost[:1]).promote is False
    assert decide(beside_anchor(0.027), CHAMPION, anchor=ANCHOR, later=lost).promote
    kept = [Estimate(0.0, -0.014, 0.014)] * 2
    assert decide(beside_anchor(0.0), CHAMPION, anchor=ANCHOR, later=kept).promote


def test_the_anchor_moves_only_to_a_champion_that_is_surely_better_by_all_later_hours():
    once = [Estimate(0.02, 0.007, 0.033)]
    assert surpassed([], GateRules()) is None
    assert surpassed(once, GateRules()) is None
    better = surpassed(once * 3, GateRules())
    assert better.value == pytest.approx(0.02)
    assert better.low == pytest.approx(0.02 - 2.576 * 0.013 / 1.2816 / 3**0.5, abs=1e-5)


@pytest.mark.parametrize(
    ("targets", "difference", "promoted"),
    [
        (500, Estimate(-0.04, -0.06, -0.02), False),  # surely worse
        (500, Estimate(-0.03, -0.05, -0.01), True),  # could be chance, and too wide to say more
        (500, Estimate(-0.022, -0.0415, -0.0025), False),  # narrow: it may be worse by the margin
        (500, Estimate(0.0, -0.019, 0.019), True),
        (49, Estimate(-0.3, -0.4, -0.2), True),  # too few targets to judge
    ],
)
@pytest.mark.parametrize("objective", ["next_cart", "next_purchase"])
def test_a_candidate_may_not_lose_carts_or_purchases(objective, targets, difference, promoted):
    decision = decide(candidate(slices={objective: scores(targets=targets, champion=difference)}), CHAMPION)
    assert broken(decision) == ([] if promoted else [f"objective_{objective}"])


def test_a_candidate_has_to_beat_the_session_repeated():
    known = candidate().overall
    behind = {**known.against, "repeat": {"recall@20": Estimate(0.01, -0.01, 0.03)}}
    decision = decide(Evaluation("candidate", dataclasses.replace(known, against=behind)), CHAMPION)
    assert broken(decision) == ["beats_repeat"]


def test_new_items_decide_where_services_show_only_new_items():
    rules = GateRules(objective="new_item")
    fine, bad = scores(), scores(champion=Estimate(-0.1, -0.12, -0.08), recall=0.3)
    champion = dataclasses.replace(CHAMPION, new_item=scores())
    assert decide(Evaluation("candidate", bad, new_item=fine), champion, rules).promote
    decision = decide(Evaluation("candidate", fine, new_item=bad), champion, rules)
    assert broken(decision) == ["not_worse_than_champion", "not_worse_than_anchor"]
    nothing_new = decide(Evaluation("candidate", fine), CHAMPION, rules)
    assert broken(nothing_new) == ["enough_targets"]
    assert not nothing_new.judged


def test_too_few_targets_refuse():
    decision = decide(candidate(targets=199), CHAMPION)
    assert broken(decision) == ["enough_targets"]
    assert decision.reasons == (
        "199 evaluation targets are too few for a decision (at least 200). Missing: 1.",
    )


def test_too_few_targets_say_when_there_will_be_enough():
    (reason,) = decide(candidate(targets=100), CHAMPION, hours=24.0).reasons
    assert "Missing: 100. The last 24 hours had 100 a day." in reason
    assert reason.endswith("there are enough in about 2.0 days.")
    (never,) = decide(candidate(targets=2), CHAMPION, hours=168.0).reasons
    assert "200 take 16,800 hours, but at most 336 hours judge: raise LASTAISLE_MAX_HOLDOUT_HOURS" in never


def test_a_refusal_without_enough_evidence_judges_no_candidate():
    assert decide(candidate(), CHAMPION, quarantined=0.0).judged
    assert decide(candidate(champion=Estimate(-0.3, -0.4, -0.2)), CHAMPION).judged
    few, broken_feed = (
        decide(candidate(targets=199), CHAMPION),
        decide(candidate(), CHAMPION, quarantined=0.9),
    )
    assert not few.judged
    assert not broken_feed.judged
    assert not Decision.from_json(few.to_json()).judged
    older = '{"promote": false, "checks": [{"name": "enough_targets", "passed": false, "reason": "why"}]}'
    assert not Decision.from_json(older).judged, "so do decisions of older releases"


def test_a_candidate_has_to_beat_popularity_by_more_than_chance():
    decision = decide(candidate(popularity=Estimate(0.01, 0.0, 0.02)), CHAMPION)
    assert broken(decision) == ["beats_popularity"]


def test_the_first_candidate_only_has_to_beat_popularity():
    first = candidate()
    without = dataclasses.replace(first.overall, against={"popularity": first.overall.against["popularity"]})
    assert decide(Evaluation("candidate", without), None).promote
    assert not decide(candidate(popularity=Estimate(-0.1, -0.12, -0.08)), None).promote


@pytest.mark.parametrize(
    ("targets", "difference", "promoted"),
    [
        (500, Estimate(-0.10, -0.13, -0.07), False),
        (500, Estimate(-0.10, -0.25, 0.05), True),  # could be chance
        (500, Estimate(-0.07, -0.09, -0.05), True),  # within the limit
        (150, Estimate(-0.10, -0.13, -0.07), True),  # too few targets to judge
    ],
)
def test_a_slice_that_drops_refuses(targets, difference, promoted):
    slices = {"cold_items": scores(targets=targets, champion=difference), "long": scores()}
    decision = decide(candidate(slices=slices), CHAMPION)
    assert decision.promote is promoted
    assert broken(decision) == ([] if promoted else ["slice_cold_items"])


def test_coverage_has_a_floor_relative_to_the_champion():
    narrow = dataclasses.replace(scores(), metrics={"recall@20": exactly(0.6), "coverage@20": exactly(0.34)})
    assert broken(decide(Evaluation("candidate", narrow), CHAMPION)) == ["coverage"]
    assert decide(Evaluation("candidate", narrow), CHAMPION, GateRules(coverage_floor=0.6)).promote


def test_reasons_have_the_numbers_and_survive_json():
    decision = decide(candidate(recall=0.55, champion=Estimate(-0.05, -0.07, -0.03)), CHAMPION)
    reason, against_anchor = decision.reasons
    assert "falls behind the anchor, champion (version 3)" in against_anchor
    assert "0.5500 against 0.6000" in reason
    assert "[-0.0700, -0.0300]" in reason
    assert "champion (version 3)" in reason
    assert Decision.from_json(decision.to_json()) == decision


@pytest.mark.parametrize(("share", "promoted"), [(None, True), (0.0, True), (0.2, True), (0.2001, False)])
def test_a_feed_with_too_many_quarantined_rows_moves_no_champion(share, promoted):
    decision = decide(candidate(), CHAMPION, quarantined=share)
    assert broken(decision) == ([] if promoted else ["sound_feed"])
    assert decide(candidate(), CHAMPION, GateRules(max_quarantined=1.0), share).promote


def test_the_gate_names_the_refused_files_that_count():
    def reason(**given):
        (check,) = (
            each for each in decide(candidate(), CHAMPION, **given).checks if each.name == "sound_feed"
        )
        return check.reason

    assert reason(quarantined=0.5).startswith(
        "50.0% of the rows that came with the evaluation sessions are in q"
    )
    assert "refused" not in reason(quarantined=0.5)
    assert "are in quarantine, or in 1 file that the table refused_files" in reason(
        quarantined=0.5, refused_files=1
    )
    assert "or in 2 files that the table refused_files names. At most 20.0%" in reason(
        quarantined=0.1, refused_files=2
    )


def test_quarantined_rows_do_not_stop_a_first_candidate():
    first = candidate()
    without = dataclasses.replace(first.overall, against={"popularity": first.overall.against["popularity"]})
    assert decide(Evaluation("candidate", without), None, quarantined=0.9).promote
