"""Experiments end by their verdict, once; what ends them stands in words in both tables."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from msgspec.structs import replace

from lastaisle.errors import NotEnoughDataError
from lastaisle.experiments.analysis.analyze import analyze
from lastaisle.experiments.analysis.errors import AnalysisError
from lastaisle.experiments.analysis.results import read_results
from lastaisle.experiments.traffic import read_traffic
from lastaisle.lake import Lake
from lastaisle.lake.tables import EXPERIMENT_RESULTS

from .worlds import START, World, at, rules

SAME = {"control": 0.2, "new": 0.2}
BETTER = {"control": 0.2, "new": 0.3}


def newest(world: World):
    """Return the newest move of the experiment."""
    return read_traffic(world.lake).newest()["demo"]


def run(world: World, **given):
    """Analyse the only experiment."""
    [found] = analyze(world.lake, world.settings, **given)
    return found


def rows(world: World):
    return read_results(world.lake, "demo").to_pylist()


def test_a_better_arm_wins_and_the_experiment_ends(world):
    world.start()
    world.crowd(4000, 10, BETTER)
    world.write(12)
    found = run(world)
    assert found.state == "decided"
    assert found.reason.startswith("new wins. conversion of new is better than the control: 0.")
    assert "95 % interval for any number of looks" in found.reason
    move = newest(world)
    assert (move.state, move.reason, move.actor) == ("decided", found.reason, "analyze_experiments")
    assert move.moved_at == found.hour == rows(world)[-1]["hour"]
    assert found.hour < at(11), "it ends at the first look that excludes 0"
    assert analyze(world.lake, world.settings) == []


def test_a_worse_arm_loses(world):
    world.start()
    world.crowd(4000, 10, {"control": 0.3, "new": 0.2})
    world.write(12)
    found = run(world)
    assert found.state == "decided"
    assert found.reason.startswith("No arm is better than the control. conversion of new is worse than")
    assert found.reason.endswith("The champion stays.")


def test_less_is_better_for_abandonment(world):
    world.start(analysis=rules(primary="abandonment"))
    world.crowd(3000, 10, SAME)
    for number in range(3000):
        if number % 5 and world.arm_of(f"u1-{number}") == "control":
            [shown] = (row for row in world.shown_rows if row["user_id"] == f"u1-{number}")
            hour = (shown["shown_at"] - START) / timedelta(hours=1)
            world.event(f"u1-{number}", hour + 0.21, "checkout_abandoned")
    world.write(12)
    assert run(world).reason.startswith("new wins. abandonment of new is better than the control")


def test_arms_that_are_alike_end_with_no_difference(world):
    world.start(analysis=rules(minimum_effect=0.5))
    world.crowd(4000, 10, SAME)
    world.write(12)
    found = run(world)
    assert found.state == "decided"
    assert "No difference larger than 50.0%." in found.reason


def test_without_a_verdict_the_planned_end_ends_it(world):
    world.start(stops_at=at(8), analysis=rules(minimum_effect=0.01))
    world.crowd(600, 8, SAME)
    world.write(8.5)
    assert run(world).state == "running"
    world.write(12)
    found = run(world)
    assert (found.state, found.hour) == ("decided", at(9))
    assert found.reason.startswith("The planned end is reached without a verdict.")
    assert max(row["hour"] for row in rows(world)) == at(9)


def test_a_running_experiment_says_how_it_stands(world):
    world.start()
    world.crowd(150, 2, SAME)
    world.write(2.5)
    found = run(world)
    assert (found.state, found.hour, found.hours) == ("running", at(2), 2)
    assert found.reason.startswith("No estimate yet: ")
    world.crowd(600, 4, SAME, seed=2, first=3)
    world.write(8)
    assert run(world).reason.startswith("No verdict yet. conversion of new is not surely different")
    assert newest(world).state == "running"


def test_a_wrong_sample_ratio_makes_it_invalid(world):
    world.start()
    world.crowd(3000, 10, SAME)
    world.shown_rows = [
        row for place, row in enumerate(world.shown_rows) if row["arm"] == "control" or place % 3
    ]
    world.write(12)
    found = run(world)
    assert found.state == newest(world).state == "invalid"
    assert "The sample ratio is wrong: control " in found.reason


def test_a_guardrail_that_gets_worse_stops_it(world):
    world.start(analysis=rules(primary="ctr", guardrails=("conversion", "orders_per_shopper")))
    world.crowd(4000, 10, {"control": 0.3, "new": 0.2})
    world.write(12)
    found = run(world)
    assert found.state == newest(world).state == "stopped"
    assert found.reason.startswith("The guardrail conversion got worse. conversion of new is worse")
    guarded = {row["metric"]: row["alpha"] for row in rows(world)}
    assert guarded == {"ctr": 0.05, "conversion": 0.025, "orders_per_shopper": 0.025}


def test_three_arms_share_the_level_and_one_may_win(world):
    world.start(shares=[{"control": 0.4, "new": 0.3, "other": 0.3}])
    world.crowd(6000, 10, {"control": 0.2, "new": 0.2, "other": 0.3})
    world.write(12)
    found = run(world)
    assert found.reason.startswith("other wins. ")
    assert "The other arms: conversion of new is not surely different" in found.reason
    assert {row["alpha"] for row in rows(world)} == {0.025}


def test_the_rows_of_an_hour_do_not_depend_on_when_it_is_analysed(tmp_path):
    worlds = [World(Lake(tmp_path / name)) for name in ("hourly", "late")]
    for world in worlds:
        world.start(analysis=rules(guardrails=("revenue_per_shopper",)))
        world.crowd(3000, 10, BETTER)
        world.write(12)
    for hour in range(1, 13):
        analyze(worlds[0].lake, worlds[0].settings, now=at(hour + 0.2))
        analyze(worlds[0].lake, worlds[0].settings, now=at(hour + 0.7))
    analyze(worlds[1].lake, worlds[1].settings)
    assert rows(worlds[0]) == rows(worlds[1])
    hours = [row["hour"] for row in rows(worlds[0]) if row["role"] == "primary"]
    assert hours == [at(hour) for hour in range(1, len(hours) + 1)]
    moves = [newest(world) for world in worlds]
    assert moves[0] == moves[1]


def test_an_experiment_that_a_person_resumed_ends_again_at_the_next_look(world):
    world.start()
    world.crowd(4000, 10, BETTER)
    world.write(10)
    first = run(world)
    world.move("again")
    world.write(12)
    second = run(world)
    assert second.state == "decided"
    assert second.hour == first.hour + timedelta(hours=1)
    assert newest(world).move_id != "again"


def test_an_experiment_without_exposures_waits(world):
    assert analyze(world.lake, world.settings) == []
    world.start()
    found = run(world)
    assert (found.state, found.hour, found.problem) == ("running", None, None)
    with pytest.raises(NotEnoughDataError, match="run `lastaisle attribute`"):
        read_results(world.lake, "demo")
    with pytest.raises(NotEnoughDataError, match="experiments are: demo"):
        read_results(world.lake, "deom")


def test_an_experiment_that_cannot_be_analysed_stops_no_other(world):
    world.start()
    world.trial = replace(world.trial, name="old", analysis=None)
    world.move("old")
    world.trial = replace(world.trial, name="odd", analysis=rules(primary="joy"))
    world.move("odd")
    world.trial = replace(world.trial, name="demo")
    world.crowd(300, 2, SAME)
    world.write(4)
    demo, odd, old = analyze(world.lake, world.settings)
    assert demo.hours == 4
    assert "the metric 'joy' is not known; metrics are conversion" in odd.problem
    assert "has no rules of analysis" in old.problem


def test_a_name_that_is_no_experiment_is_refused(world):
    world.start()
    with pytest.raises(AnalysisError, match="there is no experiment 'deom'; experiments are: demo"):
        analyze(world.lake, world.settings, ["deom"])


def test_an_ended_experiment_that_is_asked_for_says_its_verdict(world):
    world.start()
    world.crowd(4000, 10, BETTER)
    world.write(12)
    ended = run(world)
    again = run(world, names=["demo"])
    assert (again.state, again.reason, again.hours) == (ended.state, ended.reason, 0)


def test_odd_shoppers_are_counted_in_the_results(world):
    world.start()
    world.crowd(300, 2, SAME)
    world.shown("anna", 0.5, "control")
    world.shown("anna", 0.6, "new")
    world.shown(None, 0.5, "new", session_id=None)
    world.write(4)
    run(world)
    last = rows(world)[-1]
    assert last["switched"] == 1
    assert json.loads(last["left_out"]) == {"exposures without shopper and visit": 1}


# Analyses; dies by SIGKILL right before or right after the first or the second commit.
SCRIPT = """
import os, signal, sys
from lastaisle.experiments.analysis.analyze import analyze
from lastaisle.lake import Lake
from lastaisle.settings import Settings

url, number, when = sys.argv[1:]
append, calls = Lake.append, []

def deadly(*given, **named):
    calls.append(given)
    if len(calls) < int(number):
        return append(*given, **named)
    if when == "after":
        append(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)

Lake.append = deadly
analyze(Lake(url), Settings.of(lake=url))
"""


def test_kill_9_at_any_commit_and_a_plain_run_again(tmp_path):
    names = ["whole", "1 before", "1 after", "2 before", "2 after"]
    worlds = {name: World(Lake(tmp_path / name.replace(" ", "-"))) for name in names}
    for name, world in worlds.items():
        world.start()
        world.crowd(2000, 5, {"control": 0.2, "new": 0.4})
        world.write(7)
        if name != "whole":
            arguments = [world.lake.url, *name.split()]
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, check=False
            )
            assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        analyze(world.lake, world.settings)
    for world in worlds.values():
        assert rows(world) == rows(worlds["whole"])
        assert read_traffic(world.lake).moves == read_traffic(worlds["whole"].lake).moves
        assert world.lake.version(EXPERIMENT_RESULTS) == worlds["whole"].lake.version(EXPERIMENT_RESULTS)
