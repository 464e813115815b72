"""Promotions and rollbacks from two schedulers at once: one order, and no lost row."""

import pytest

from tests.release.scripts import told_by


@pytest.mark.service
@pytest.mark.timeout(300)
def test_ten_moves_at_once_get_one_order_and_lose_no_row(tmp_path):
    told = told_by("tests.release.moving", tmp_path)[-1]
    assert told["broken"] == []
    assert told["aliases"] == told["wanted"]
    assert told["marked"]
    moves = told["moves"][3:]
    promoted = [move["to"] for move in moves if move["action"] == "promote"]
    assert sorted(promoted) == ["4", "5", "6", "7", "8"]
    assert {move["action"] for move in moves} == {"promote", "rollback"}, "no alias was moved by hand"
    for before, move in zip(told["moves"][2:], moves, strict=False):
        assert move["from"] == before["to"], "each move starts where the one before ended"
    moved = sorted(file.name for file in (tmp_path / "moved").iterdir())
    assert sorted(move["actor"] for move in moves) == moved, "no row is lost"
    assert {move["actor"].partition(":")[0] for move in moves} == {"scheduler0", "scheduler1"}
