"""The guardrails judge the champion: when it has to go, and when a rollback would not help."""

from datetime import UTC, datetime

import pytest

from lastaisle.registry.ledger import Move
from lastaisle.release.guardrails.champion import judge_champion
from lastaisle.release.guardrails.limits import GuardrailLimits
from tests.baseline.shop import CHAMPION, POPULAR, WEEKS, dropped, figures, hours_of, steady

START = WEEKS * 168 + 13
END = START + 60


def move(action, from_version, to_version, alias="champion"):
    return Move(
        move_id=f"{action}/{to_version}",
        moved_at=datetime(2025, 10, 9, tzinfo=UTC),
        actor="tester",
        action=action,
        model_name="checkout-recommender",
        alias=alias,
        from_version=from_version,
        to_version=to_version,
        reason="because",
        run_id=f"run-{to_version}",
        run_key="k",
    )


PROMOTED = (move("promote", None, "1"), move("promote", "1", "2"))


def shop(rates, start=START, end=END, **options):
    """Return the rows of version 1, and then of version 2."""
    return [
        *hours_of(rates, {**CHAMPION, "model_version": "1"}, 0, start, **options),
        *hours_of(rates, {**CHAMPION, "model_version": "2"}, start, end, **options),
    ]


def judged(folder, rows, moves=PROMOTED, **limits):
    return judge_champion(figures(folder, rows), moves, GuardrailLimits(**limits))


def outcomes(judgement):
    return {check.name: check.says for check in judgement.checks}


def test_a_drop_since_the_champion_serves_asks_for_a_rollback(tmp_path):
    judgement = judged(tmp_path, shop(dropped(START, 0.15)))
    assert judgement.asks_rollback
    assert outcomes(judgement)["conversion"] == "broken"
    assert outcomes(judgement)["ctr"] == "passed"
    assert "conversion of version 2 changed by -1" in judgement.reason
    check = next(check for check in judgement.checks if check.name == "conversion")
    assert check.value == pytest.approx(-0.15, abs=0.03)


def test_a_champion_that_is_as_good_as_before_stays(tmp_path):
    judgement = judged(tmp_path, shop(steady))
    assert set(outcomes(judgement).values()) == {"passed"}
    assert not judgement.asks_rollback


def test_a_rise_is_no_drop(tmp_path):
    assert not judged(tmp_path, shop(dropped(START, -0.2))).asks_rollback


def test_a_rise_of_abandonment_is_a_drop(tmp_path):
    rows = shop(steady)
    for row in rows:
        if row["model_version"] == "2" and "sessions_abandoned" in row:
            row["sessions_abandoned"] = int(1.3 * row["sessions_abandoned"])
    judgement = judged(tmp_path, rows)
    assert outcomes(judgement)["abandonment"] == "broken"
    assert "abandonment of version 2 changed by +" in judgement.reason


@pytest.mark.parametrize("hours", [10, 40, 70])
def test_a_drop_that_began_before_the_champion_is_only_reported(tmp_path, hours):
    judgement = judged(tmp_path, shop(dropped(START - hours, 0.3)))
    assert outcomes(judgement)["conversion"] in ("reported", "passed")
    assert not judgement.asks_rollback


def test_a_drop_of_the_whole_shop_is_only_reported(tmp_path):
    others = hours_of(dropped(START, 0.15), POPULAR, 0, END, seed=5)
    judgement = judged(tmp_path, [*shop(dropped(START, 0.15)), *others])
    assert outcomes(judgement)["conversion"] == "reported"
    check = next(check for check in judgement.checks if check.name == "conversion")
    assert "the shop changed, and a rollback would not help" in check.reason


def test_a_drop_that_the_popular_lists_do_not_show_asks_for_a_rollback(tmp_path):
    others = hours_of(steady, POPULAR, 0, END, seed=5)
    assert judged(tmp_path, [*shop(dropped(START, 0.15)), *others]).asks_rollback


def test_a_few_lists_of_others_do_not_excuse_a_drop(tmp_path):
    others = hours_of(dropped(START, 0.15), POPULAR, 0, END, seed=5, sessions=20)
    assert judged(tmp_path, [*shop(dropped(START, 0.15)), *others]).asks_rollback


def test_other_shoppers_than_before_are_no_drop(tmp_path):
    """A campaign brings desktop shoppers, who order half as often as before and after."""
    desktop = {"policy": "model", "segment": "desktop"}
    rows = [
        *shop(steady),
        *hours_of(lambda _: 0.5, {**desktop, "model_version": "1"}, 0, START, sessions=500),
        *hours_of(lambda _: 0.5, {**desktop, "model_version": "2"}, START, END, sessions=6000),
    ]
    assert not judged(tmp_path, rows).asks_rollback


def test_without_two_weeks_of_history_nothing_is_judged(tmp_path):
    rows = [row for row in shop(dropped(START, 0.3)) if row["hour"] > datetime(2025, 2, 8, tzinfo=UTC)]
    judgement = judged(tmp_path, rows)
    assert set(outcomes(judgement).values()) == {"open"}
    assert "needs 14 days with counts before version 2" in judgement.checks[0].reason


@pytest.mark.parametrize(
    ("moves", "limits", "because"),
    [
        (PROMOTED, {"roll_back": False}, "guardrails only report"),
        ((move("promote", None, "2"),), {}, "no version to return to"),
        (
            (*PROMOTED, move("promote", "2", "3"), move("rollback", "3", "2")),
            {},
            "never roll back to and fro",
        ),
    ],
)
def test_why_no_rollback_follows(tmp_path, moves, limits, because):
    judgement = judged(tmp_path, shop(dropped(START, 0.15)), moves, **limits)
    assert judgement.reason
    assert because in judgement.held_back
    assert not judgement.asks_rollback


def test_after_a_rollback_the_next_one_waits(tmp_path):
    """Version 2 was rolled back; version 3 follows soon, and is bad as well."""
    bad, third = START - 100, START - 2
    rows = [
        *hours_of(steady, {**CHAMPION, "model_version": "1"}, 0, bad),
        *hours_of(dropped(bad, 0.3), {**CHAMPION, "model_version": "2"}, bad, START - 50),
        *hours_of(steady, {**CHAMPION, "model_version": "1"}, START - 50, third),
        *hours_of(dropped(third, 0.3), {**CHAMPION, "model_version": "3"}, third, END),
    ]
    moves = (*PROMOTED, move("rollback", "2", "1"), move("promote", "1", "3"))
    assert judged(tmp_path / "1", rows, moves).asks_rollback
    waiting = judged(tmp_path / "2", rows, moves, cooldown_hours=200)
    assert "was rolled back by tester less than 200 hours ago" in waiting.held_back
    # The hours of the bad version are no baseline: with them, version 3 would look less bad.
    value = next(check.value for check in waiting.checks if check.name == "conversion")
    assert value == pytest.approx(-0.3, abs=0.05)


def test_a_champion_is_watched_for_some_time_only(tmp_path):
    judgement = judged(tmp_path, shop(dropped(START, 0.15)), watch_hours=40)
    assert not judgement.checks
    assert "more than 40 hours" in judgement.why_unjudged


def test_a_canary_of_the_champion_before_its_promotion_is_no_service(tmp_path):
    canary = {**CHAMPION, "model_version": "2", "experiment": "canary-2", "arm": "canary"}
    control = {**CHAMPION, "model_version": "1", "experiment": "canary-2", "arm": "control"}
    rows = [
        *hours_of(steady, {**CHAMPION, "model_version": "1"}, 0, START - 48),
        *hours_of(steady, control, START - 48, START, sessions=2700),
        *hours_of(steady, canary, START - 48, START, sessions=300),
        *hours_of(dropped(START, 0.15), {**CHAMPION, "model_version": "2"}, START, END),
    ]
    judgement = judged(tmp_path, rows)
    assert judgement.until - judgement.since == END - START
    assert judgement.asks_rollback


def test_a_service_that_is_late_with_its_update_changes_nothing(tmp_path):
    late = hours_of(steady, {**CHAMPION, "model_version": "1"}, START, END, sessions=50)
    judgement = judged(tmp_path, [*shop(steady), *late])
    assert judgement.until - judgement.since == END - START
