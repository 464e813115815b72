"""Promotions and rollbacks from two schedulers at once: one order, and no lost row."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.service
@pytest.mark.timeout(300)
def test_ten_moves_at_once_get_one_order_and_lose_no_row(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.release.moving", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "LASTAISLE_GIT_REVISION": "test"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
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
