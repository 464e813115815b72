"""kill -9 after each write of each step of a release; the next run ends as an undisturbed run."""

import pytest

from tests.release.scripts import told_by

#: The writes of each step at least: rows of the ledger and of the table traffic, and aliases.
LEAST_WRITES = {"shadow": 5, "canary": 4, "champion": 4, "retired": 2, "rolled back": 2}


@pytest.mark.service
@pytest.mark.timeout(600)
def test_a_step_that_is_killed_after_any_write_ends_as_an_undisturbed_step(tmp_path):
    lines = told_by("tests.release.killed_steps", tmp_path)
    whole = {line["step"]: line["state"] for line in lines if line["write"] == 0}
    assert {step: whole[step]["aliases"].get("champion") for step in whole} == {
        "shadow": "1",
        "canary": "1",
        "champion": "2",
        "retired": "1",
        "rolled back": "1",
    }
    for step, least in LEAST_WRITES.items():
        killed = [line for line in lines if line["step"] == step and line["write"]]
        assert len(killed) >= least
        for line in killed:
            assert line["state"] == whole[step], (step, line["write"])
            assert not line["state"]["chain"]
