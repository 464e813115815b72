"""kill -9 at each moment of an erasure, then go on: the request is done once, and nobody is left."""

from tests.release.scripts import told_by
from tests.rights.killed import BOUNDARIES

from .conftest import BERTA


def test_a_killed_erasure_goes_on(shop):
    told = told_by("tests.rights.killed", shop.folder.parent)
    assert [state["boundary"] for state in told] == list(BOUNDARIES)
    for state in told:
        assert state["killed"], state
        assert state["users"] == [BERTA], state
        (steps,) = state["requests"]
        assert (steps[0], steps[-1], steps.count("done")) == ("asked", "done", 1), state
        assert set(steps[1:-1]) == {"working"}, state
        assert len(state["kept"]) == 1, "the tombstones for restores"
        assert (state["inbox"], state["moments"], state["receipts"]) == ([], 1, [True]), state
