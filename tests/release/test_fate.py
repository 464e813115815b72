"""What became of each version, by the moves of the ledger."""

from datetime import UTC, datetime, timedelta

from lastaisle.registry.ledger import Move, standing
from lastaisle.release.fate import fates

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)


def moves_of(*told):
    """Make one move an hour of (action, version), or of (action, version, alias)."""
    moves = []
    for hour, (action, version, *named) in enumerate(told):
        alias = {"register": "challenger", "shadow": "shadow", "canary": "canary"}.get(action, "champion")
        alias = named[0] if named else alias
        before = standing(moves).aliases[alias]
        times = {"moved_at": NOON + timedelta(hours=hour), "actor": "anna", "reason": f"Reason {hour}."}
        of = {"model_name": "m", "alias": alias, "from_version": before, "run_id": f"r{version}"}
        moves.append(Move(move_id=f"m{hour}", action=action, to_version=version, run_key="k", **times, **of))
    return moves


def states(*told):
    return {version: fate.state for version, fate in fates(moves_of(*told)).items()}


def test_a_version_waits_then_is_champion_and_then_replaced():
    first = [("register", "1")]
    assert states(*first) == {"1": "waits for the gate"}
    first += [("promote", "1"), ("register", "2")]
    assert states(*first) == {"1": "champion", "2": "waits for the gate"}
    assert states(*first, ("promote", "2")) == {"1": "replaced by 2", "2": "champion"}
    assert states(*first, ("refuse", "2")) == {"1": "champion", "2": "refused"}


def test_a_rollback_is_told_of_the_version_that_left_and_of_the_version_that_returned():
    told = [("register", "1"), ("promote", "1"), ("register", "2"), ("promote", "2"), ("rollback", "1")]
    found = fates(moves_of(*told))
    assert (found["1"].state, found["2"].state) == ("champion", "rolled back to 1")
    assert found["2"].sentence == (
        "Version 2 was rolled back on 2025-10-09 16:00 UTC by anna (rollback of version 1): Reason 4."
    )
    assert found["2"].decision == "promoted", "the gate's decision stays what it was"
    assert found["1"].sentence.startswith("Version 1 is champion since 2025-10-09 16:00 UTC")


def test_steps_are_told_also_of_a_version_that_never_was_champion():
    told = [("register", "1"), ("promote", "1"), ("register", "2"), ("shadow", "2"), ("register", "3")]
    assert states(*told)["2"] == "shadow"
    assert states(*told, ("shadow", "3")) == {"1": "champion", "2": "replaced by 3", "3": "shadow"}
    assert states(*told, ("canary", "2"))["2"] == "canary"
    assert states(*told, ("canary", "2"), ("retire", "2", "canary"))["2"] == "retired"
    assert states(*told, ("canary", "2"), ("promote", "2"))["2"] == "champion"
    assert states(*told, ("withdraw", "2"))["2"] == "withdrawn"
    retired = fates(moves_of(*told, ("retire", "2", "shadow")))["2"]
    assert retired.sentence.startswith("Version 2 was retired as shadow on 2025-10-09 17:00 UTC by anna")
    assert retired.decision == "passed: shadow"


def test_a_version_that_is_lost_or_pruned_is_gone_and_its_number_may_begin_anew():
    told = [("register", "1"), ("promote", "1"), ("lost", "1")]
    assert states(*told) == {"1": "gone"}
    assert states(*told[:2], ("register", "2"), ("prune", "2", "challenger"))["2"] == "gone"
    assert states(*told, ("register", "1")) == {"1": "waits for the gate"}


def test_a_version_that_the_ledger_got_to_know_otherwise_is_left_out():
    assert fates(moves_of(("adopt", "7"))) == {}
