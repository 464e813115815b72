"""kill -9 in the middle of training, evaluation, release and rollback; then a plain re-run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BOUNDARIES = 12


@pytest.mark.slow
@pytest.mark.timeout(900)  # 26 releases
def test_a_killed_run_ends_where_an_undisturbed_one_does(tmp_path):
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "LASTAISLE_GIT_REVISION": "test"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    undisturbed, *others = [json.loads(line) for line in done.stdout.splitlines()]
    assert undisturbed["state"]["aliases"] == {"challenger": "2", "champion": "1"}
    actions = [move["action"] for move in undisturbed["state"]["moves"]]
    assert actions == ["register", "promote", "register", "promote", "rollback"]
    assert len(others) == BOUNDARIES
    for other in others:
        assert other["killed"], other["boundary"]
        assert other["state"] == undisturbed["state"], other["boundary"]
