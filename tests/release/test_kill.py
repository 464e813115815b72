"""kill -9 in the middle of training, evaluation, release and rollback; then a plain re-run."""

import pytest

from tests.release.scripts import told_by

BOUNDARIES = 13


@pytest.mark.service
@pytest.mark.timeout(900)  # 28 releases
def test_a_killed_and_repeated_run_ends_in_the_same_state_as_an_undisturbed_run(tmp_path):
    undisturbed, *others = told_by("tests.release.killed", tmp_path)
    assert undisturbed["state"]["aliases"] == {"anchor": "1", "challenger": "2", "champion": "1"}
    actions = [move["action"] for move in undisturbed["state"]["moves"]]
    assert actions == ["register", "promote", "anchor", "register", "promote", "rollback"]
    assert len(others) == BOUNDARIES
    for other in others:
        assert other["killed"], other["boundary"]
        assert other["state"] == undisturbed["state"], other["boundary"]
