"""kill -9 in the middle of training, evaluation, release and rollback; then a plain re-run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BOUNDARIES = 13
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.service
@pytest.mark.timeout(900)  # 28 releases
def test_a_killed_and_repeated_run_ends_in_the_same_state_as_an_undisturbed_run(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.release.killed", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "LASTAISLE_GIT_REVISION": "test"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    undisturbed, *others = [json.loads(line) for line in done.stdout.splitlines()]
    assert undisturbed["state"]["aliases"] == {"anchor": "1", "challenger": "2", "champion": "1"}
    actions = [move["action"] for move in undisturbed["state"]["moves"]]
    assert actions == ["register", "promote", "anchor", "register", "promote", "rollback"]
    assert len(others) == BOUNDARIES
    for other in others:
        assert other["killed"], other["boundary"]
        assert other["state"] == undisturbed["state"], other["boundary"]
