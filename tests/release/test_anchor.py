"""The anchor moves to a surely better champion, by hours that had no part in the champion's promotion."""

from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.evaluation.pooling import pooled, standard_error, widened
from lastaisle.evaluation.report import REPORT, Estimate, Evaluation, EvaluationReport, Scores
from lastaisle.lake import Lake
from lastaisle.registry.ledger import Ledger, Move
from lastaisle.release.anchor import later_differences, move_anchor
from lastaisle.release.gate import GateRules

START, RULES = datetime(2025, 10, 6, tzinfo=UTC), GateRules()
BETTER, EQUAL = Estimate(0.03, 0.02, 0.04), Estimate(0.0, -0.01, 0.01)


class Runs:
    """A registry that holds only reports."""

    def __init__(self, *reports):
        self._texts = {report.run_id: report.to_json() for report in reports}

    def read_text(self, run_id, path):
        assert path == REPORT
        return self._texts.get(run_id)


def report(run, day, champion, anchor=None, difference=EQUAL, *, hours=8):
    """Return a report whose candidate was judged by the last hours of a day."""
    end = START + timedelta(days=day)
    models = {"candidate": Evaluation("candidate", Scores(1000, {}))}
    if champion is not None:
        against = {} if anchor is None else {"anchor": {"recall@20": difference}}
        models["champion"] = Evaluation("champion", Scores(1000, {}, against), version=champion)
    if anchor is not None:
        models["anchor"] = Evaluation("anchor", Scores(1000, {}), version=anchor)
    return EvaluationReport(
        run_id=run,
        run_key=f"key-{run}",
        evaluated_from=end - timedelta(hours=hours),
        evaluated_to=end,
        sessions=500,
        targets=1000,
        champion_version=champion,
        paired_level=0.8,
        models=models,
    )


def move(action, run, from_version, to_version, alias="champion"):
    return Move(
        move_id=f"{run}/{action}",
        moved_at=START,
        actor="tester",
        action=action,
        model_name="m",
        alias=alias,
        from_version=from_version,
        to_version=to_version,
        reason="why",
        run_id=run,
        run_key=f"key-{run}",
    )


@pytest.fixture
def ledger(tmp_path):
    """Version 1 is the anchor; version 2 was promoted by run b on day 2."""
    ledger = Ledger(Lake(str(tmp_path)), "m")
    ledger.write(move("promote", "a", None, "1"))
    ledger.write(move("anchor", "a", None, "1", "anchor"))
    ledger.write(move("promote", "b", "1", "2"))
    return ledger


PROMOTION = report("b", 2, "1")


def differences(ledger, newest, *earlier):
    return later_differences(newest, ledger.moves(), Runs(PROMOTION, *earlier, newest), RULES)


def test_the_hours_that_promoted_the_champion_do_not_count(ledger):
    assert differences(ledger, report("c", 2, "2", "1", BETTER)) == []
    assert differences(ledger, report("c", 2.1, "2", "1", BETTER)) == [], "the hours overlap"
    assert differences(ledger, report("c", 3, "2", "1", BETTER)) == [BETTER]


def test_every_stretch_of_hours_counts_once_whatever_became_of_the_candidate(ledger):
    days = [report(run, day, "2", "1", BETTER) for run, day in (("c", 3), ("full", 3), ("d", 4))]
    for number, each in enumerate(days):
        ledger.write(move("refuse", each.run_id, "2", str(3 + number)))
    assert len(differences(ledger, report("e", 5, "2", "1"), *days)) == 3, "days 3, 4 and 5"
    other = report("c", 3, "1", "1", BETTER)
    assert differences(ledger, report("e", 5, "2", "1"), other) == [EQUAL], "another champion"


def test_without_another_version_as_anchor_there_is_no_difference(ledger):
    assert differences(ledger, report("c", 3, "2")) == []
    assert later_differences(report("a", 1, None), (), Runs(), RULES) == []


def after(ledger, newest, *earlier):
    """Decide on a candidate, and return where the anchor stands; a second call changes nothing."""
    ledger.write(move("refuse", newest.run_id, "2", "9"))
    runs = Runs(PROMOTION, *earlier, newest)
    for _ in range(2):
        move_anchor(newest, ledger, runs, RULES, actor="tester")
    assert sum(each.action == "anchor" for each in ledger.moves()) <= 2
    return ledger.standing().anchor


def test_the_anchor_moves_to_a_champion_that_is_surely_better(ledger):
    assert after(ledger, report("c", 3, "2", "1", BETTER)) == "2"
    assert "surely better than version 1 in recall@20" in ledger.moves()[-1].reason
    assert ledger.moves()[-1].run_id == "b", "the run of the version that is the anchor now"


def test_the_anchor_stays_if_the_champion_is_only_equal_or_the_hours_promoted_it(ledger):
    assert after(ledger, report("c", 3, "2", "1", EQUAL)) == "1"
    assert after(ledger, report("d", 2, "2", "1", BETTER)) == "1"


def test_an_anchor_that_could_not_be_scored_gives_way_to_the_champion(ledger):
    assert after(ledger, report("c", 3, "2")) == "2"
    assert "could not be scored" in ledger.moves()[-1].reason


def test_the_first_champion_and_the_champion_of_an_older_ledger_become_the_anchor(tmp_path):
    ledger = Ledger(Lake(str(tmp_path)), "m")
    first = report("a", 1, None)
    ledger.write(move("refuse", "a", None, "1"))
    move_anchor(first, ledger, Runs(first), RULES, actor="tester")
    assert ledger.standing().anchor is None, "nothing serves"
    ledger.write(move("promote", "b", None, "2"))
    second = report("b", 2, None)
    move_anchor(second, ledger, Runs(second), RULES, actor="tester")
    assert ledger.standing().aliases["anchor"] == "2"


def test_an_older_decision_moves_no_anchor(ledger):
    old = report("c", 3, "2", "1", BETTER)
    ledger.write(move("refuse", "c", "2", "3"))
    ledger.write(move("rollback", "people", "2", "1"))
    move_anchor(old, ledger, Runs(PROMOTION, old), RULES, actor="tester")
    assert ledger.standing().anchor == "1"


def test_pooled_estimates_weigh_by_their_certainty():
    one, two = Estimate(0.01, -0.0156, 0.0356), Estimate(0.04, 0.0272, 0.0528)
    assert standard_error(one) == pytest.approx(0.02, rel=0.01)
    joint = pooled([one, two])
    assert joint.value == pytest.approx((0.01 + 4 * 0.04) / 5)
    assert standard_error(joint) == pytest.approx(0.02 / 5**0.5, rel=0.01)
    assert widened(joint, 0.95).high == pytest.approx(joint.value + 1.96 * standard_error(joint), rel=1e-3)
    assert pooled([]) is None
    assert pooled([Estimate(0.0, 0.0, 0.0)]).value == 0.0
