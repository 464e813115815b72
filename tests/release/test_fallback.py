"""Two refusals in a row start a full training, once."""

import inspect
from datetime import UTC, datetime

import pytest

from lastaisle.registry.ledger import PROMOTE, REFUSE, REGISTER, ROLLBACK, Move
from lastaisle.release import fallback, gate
from lastaisle.release.gate import CHECKS_OF_THE_DATA, Check, Decision


def always(move):
    return True


def full_training_due(moves, version, tells=always):
    return fallback.full_training_due(moves, version, tells)


def refused_in_a_row(moves):
    return fallback.refused_in_a_row(moves, always)


def move(action, version, kind="incremental"):
    return Move(
        move_id=f"{kind}-{version}/{action}",
        moved_at=datetime(2025, 10, 9, tzinfo=UTC),
        actor="tester",
        action=action,
        model_name="m",
        alias="champion",
        from_version="1",
        to_version=version,
        reason="why",
        run_id=f"run-{version}",
        run_key=f"{kind}-20251009T0000-{version}",
    )


FIRST = move(PROMOTE, "1")


def test_the_second_refusal_in_a_row_makes_a_full_training_due():
    moves = [FIRST, move(REGISTER, "2"), move(REFUSE, "2"), move(REGISTER, "3"), move(REFUSE, "3")]
    assert full_training_due(moves[:3], "2") is None
    said = full_training_due(moves, "3")
    assert said == "The gate refused version 2 and version 3, warm starts of version 1, in a row."
    assert full_training_due([*moves, move(REFUSE, "4")], "4") is None, (
        "a row of refusals starts only one training"
    )


@pytest.mark.parametrize("between", [move(PROMOTE, "3", "full"), move(ROLLBACK, "1")])
def test_a_move_of_the_champion_ends_the_row_of_refusals(between):
    moves = [FIRST, move(REFUSE, "2"), between, move(REFUSE, "4")]
    assert [one.to_version for one in refused_in_a_row(moves)] == ["4"]
    assert full_training_due(moves, "4") is None


def test_a_refused_full_training_does_not_count():
    moves = [FIRST, move(REFUSE, "2"), move(REFUSE, "3", "full")]
    assert full_training_due(moves, "3") is None
    assert full_training_due([*moves, move(REFUSE, "4")], "4")


def test_a_refusal_that_says_nothing_of_the_model_does_not_count():
    moves = [FIRST, *(move(REFUSE, version) for version in "2345")]
    silent = {"2", "4"}

    def tells(move):
        return move.to_version not in silent

    assert full_training_due(moves[:3], "3", tells) is None
    assert full_training_due(moves[:4], "4", tells) is None
    assert "version 3 and version 5" in full_training_due(moves, "5", tells)


class Stored:
    """A registry that holds one decision, or none."""

    def __init__(self, decision):
        self.decision = decision

    def read_text(self, run_id, path):
        return self.decision and self.decision.to_json()


@pytest.mark.parametrize(
    ("broken", "tells"),
    [
        ((), True),
        (("not_worse_than_champion",), True),
        (("coverage", "churn"), True),
        (("enough_targets",), False),
        (("sound_feed",), False),
        (("not_worse_than_champion", "enough_targets"), False),
    ],
)
def test_a_refusal_for_too_few_targets_or_a_broken_feed_says_nothing_of_the_model(broken, tells):
    names = ("not_worse_than_champion", "coverage", "churn", "sound_feed", "enough_targets")
    checks = tuple(Check(name, name not in broken, "why") for name in names)
    assert fallback.tells_of_the_model(move(REFUSE, "2"), Stored(Decision(not broken, checks))) == tells


def test_a_refusal_whose_decision_is_gone_counts():
    assert fallback.tells_of_the_model(move(REFUSE, "2"), Stored(None))


def test_the_checks_of_the_data_have_names_that_the_gate_gives():
    source = inspect.getsource(gate)
    assert [name for name in CHECKS_OF_THE_DATA if source.count(f'"{name}"') < 2] == []
