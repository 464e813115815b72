"""The table `traffic`: the newest row of a trial counts, and one decision is written once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from lastaisle.experiments.assignment import Range, ranges_of_phases
from lastaisle.experiments.traffic import (
    Arm,
    Bandit,
    Mix,
    Phase,
    TrafficLog,
    TrafficMove,
    Trial,
    read_traffic,
    write_move,
)
from lastaisle.lake.errors import LakeConflictError
from lastaisle.lake.lake import Lake
from lastaisle.lake.tables import TRAFFIC, TRAFFIC_SCHEMA

START = datetime(2026, 3, 1, tzinfo=UTC)


def trial(name: str = "demo", **changes) -> Trial:
    [ranges] = ranges_of_phases([{"control": 0.5, "new": 0.5}])
    arms = (Arm(name="control"), Arm(name="new", version="7", mix=Mix(positions=(2,), policy="popular")))
    bandit = Bandit(algorithm="thompson", base={"control": 1.0}, floor=0.05, posterior={"control": [1, 2.5]})
    phases = (Phase(starts_at=START, ranges=ranges),)
    given = {"kind": "experiment", "arms": arms, "starts_at": START, "phases": phases, "bandit": bandit}
    return Trial(name=name, **{**given, **changes})


def move(move_id: str, made: Trial, state: str = "running") -> TrafficMove:
    return TrafficMove(move_id, START, state, made, "a reason", "tests")


def test_a_trial_comes_back_as_it_was_written(tmp_path):
    lake = Lake(tmp_path)
    assert read_traffic(lake) == TrafficLog(-1, ())
    made = trial(targeting={"device_type": ("mobile",)}, stops_at=START + timedelta(days=14))
    assert write_move(lake, move("one", made), read_traffic(lake))
    [found] = read_traffic(lake).moves
    assert found == move("one", made)
    assert isinstance(found.trial.phases[0].ranges[0], Range)


def test_the_newest_move_counts_and_the_canary_comes_last(tmp_path):
    lake = Lake(tmp_path)
    for at, (name, kind, state) in enumerate(
        [("canary", "canary", "running"), ("demo", "experiment", "running"), ("zeta", "bandit", "running")]
    ):
        write_move(lake, move(str(at), trial(name, kind=kind), state), read_traffic(lake))
    assert [one.name for one in read_traffic(lake).running()] == ["demo", "zeta", "canary"]
    write_move(lake, move("stop", trial("demo"), "stopped"), read_traffic(lake))
    assert [one.name for one in read_traffic(lake).running()] == ["zeta", "canary"]


def test_a_move_is_written_once_and_not_on_an_old_table(tmp_path):
    lake = Lake(tmp_path)
    empty = read_traffic(lake)
    assert write_move(lake, move("one", trial()), empty)
    assert not write_move(lake, move("one", trial()), read_traffic(lake))
    with pytest.raises(LakeConflictError):
        write_move(lake, move("two", trial()), empty)
    assert len(read_traffic(lake).moves) == 1


def damage(lake: Lake, name: str, state: str, text: str | None) -> None:
    """Write a row that a newer or broken program wrote."""
    log = read_traffic(lake)
    row = {"entry": len(log.moves) + log.unread, "move_id": f"damaged {log.version}", "moved_at": START}
    row |= {"subject": name, "kind": "experiment", "state": state, "trial": text, "reason": "", "actor": ""}
    lake.append(TRAFFIC, pa.Table.from_pylist([row], schema=TRAFFIC_SCHEMA), key=row["move_id"])


@pytest.mark.parametrize("text", ["{", "{}", '{"name": "demo", "kind": "auction"}', "null", None, "[]"])
def test_a_row_that_cannot_be_read_is_named_and_the_row_before_it_counts(tmp_path, text):
    lake = Lake(tmp_path)
    write_move(lake, move("one", trial()), read_traffic(lake))
    damage(lake, "demo", "running", text)
    damage(lake, "other", "running", text)
    found = read_traffic(lake)
    assert [one.name for one in found.running()] == ["demo"]
    assert ["row 1" in found.problems[0], "row 2" in found.problems[1]] == [True, True]
    assert write_move(lake, move("two", trial("third")), found), "a damaged row stops no other trial"
    assert [one.name for one in read_traffic(lake).running()] == ["demo", "third"]
    assert sorted(lake.scan(TRAFFIC)["entry"].to_pylist()) == [0, 1, 2, 3]
    write_move(lake, move("mended", trial()), read_traffic(lake))
    assert len(read_traffic(lake).problems) == 1, "the newer row of demo can be read"


def test_a_trial_that_was_stopped_by_a_damaged_row_does_not_run_on(tmp_path):
    lake = Lake(tmp_path)
    write_move(lake, move("one", trial()), read_traffic(lake))
    damage(lake, "demo", "stopped", "{")
    assert read_traffic(lake).running() == ()
    write_move(lake, move("again", trial()), read_traffic(lake))
    assert [one.name for one in read_traffic(lake).running()] == ["demo"]


@pytest.mark.parametrize(
    ("changes", "placement", "context", "at", "takes"),
    [
        ({}, "checkout", {}, START, True),
        ({}, "checkout", {}, START - timedelta(seconds=1), False),
        ({"stops_at": START}, "checkout", {}, START, False),
        ({"placements": ("cart",)}, "checkout", {}, START, False),
        ({"targeting": {"device_type": ("mobile",)}}, "checkout", {"device_type": "mobile"}, START, True),
        ({"targeting": {"device_type": ("mobile",)}}, "checkout", {}, START, False),
        ({"buckets": (0, 0)}, "checkout", {}, START, False),
    ],
)
def test_a_request_takes_part_by_time_placement_context_and_layer(changes, placement, context, at, takes):
    assert trial(**changes).takes("a" * 32, placement, context, at) is takes


def test_experiments_of_one_layer_share_its_shoppers():
    one, two = trial("one", buckets=(0, 5000)), trial("two", buckets=(5000, 10_000))
    units = [f"{number:032x}" for number in range(500)]
    taken = [
        (one.takes(unit, "checkout", {}, START), two.takes(unit, "checkout", {}, START)) for unit in units
    ]
    assert {(True, False), (False, True)} == set(taken)
