"""Two refusals in a row start a full training, once."""

from datetime import UTC, datetime

import pytest

from lastaisle.registry.ledger import PROMOTE, REFUSE, REGISTER, ROLLBACK, Move
from lastaisle.release.fallback import full_training_due, refused_in_a_row


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
