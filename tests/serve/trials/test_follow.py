"""A service follows the table `traffic`: what begins, what ends, and what goes on while something fails."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from lastaisle.experiments.assignment import Range
from lastaisle.experiments.traffic import Arm, Mix, read_traffic
from lastaisle.lake.tables import TRAFFIC, TRAFFIC_SCHEMA
from lastaisle.serve.questions import read_question
from tests.serve.running_trials import START, Traffic, bandit, experiment
from tests.serve.toys import ToyModel
from tests.services.waiting import wait_until

UNIT = "a" * 32


@pytest.fixture
def traffic(tmp_path) -> Traffic:
    return Traffic(tmp_path)


def trial_of(traffic: Traffic, unit: str = UNIT) -> str | None:
    """Return the trial of a request; `unready` if its trial is not ready."""
    skipped: list[str] = []
    question = read_question(msgspec.json.encode({"pseudonym": unit}), lambda *_: "")
    assigned = traffic.trials.assign(question, skipped.append)
    assert not (assigned and skipped)
    return "unready" if skipped else assigned and assigned.label.experiment


def write_row(traffic: Traffic, state: str, text: str) -> None:
    """Write a row that a newer or broken program wrote, of the trial demo."""
    log = read_traffic(traffic.lake)
    row = {"entry": len(log.moves) + log.unread, "move_id": f"damaged {log.version}", "moved_at": START}
    row |= {"subject": "demo", "kind": "experiment", "state": state, "trial": text, "reason": "", "actor": ""}
    traffic.lake.append(TRAFFIC, pa.Table.from_pylist([row], schema=TRAFFIC_SCHEMA), key=row["move_id"])
    traffic.trials.look()


def test_a_trial_begins_and_ends_with_its_rows(traffic):
    traffic.trials.look()
    assert (trial_of(traffic), traffic.trials.problem) == (None, "")
    for state in ("stopped", "invalid", "decided"):
        traffic.move(experiment())
        assert trial_of(traffic) == "demo"
        traffic.move(experiment(), state)
        assert trial_of(traffic) is None
    assert traffic.told == ["the trial demo runs", "the trial demo has ended"] * 3


@pytest.mark.parametrize("text", ["{", "null", '{"name": "demo", "kind": "auction", "arms": []}'])
def test_a_row_that_cannot_be_read_leaves_the_last_good_row_and_is_named(traffic, text):
    traffic.move(experiment())
    write_row(traffic, "running", text)
    assert trial_of(traffic) == "demo"
    assert "row 1 of the table traffic, of demo, cannot be read" in traffic.trials.problem
    traffic.restart().look()
    assert trial_of(traffic) == "demo"
    write_row(traffic, "stopped", text)
    assert trial_of(traffic) is None, "a trial that was stopped never runs on"


NAIVE = START.replace(tzinfo=None)
PHASE = experiment().phases[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": (Arm(name="Control"), Arm(name="new"))}, "'Control' is no name"),
        ({"arms": (Arm(name="null"), Arm(name="new"))}, "'null' is no name"),
        ({"arms": (Arm(name="new"), Arm(name="new"))}, "different names"),
        ({"arms": (Arm(name="control"),)}, "arms that it does not have: new"),
        ({"phases": ()}, "no phase"),
        ({"starts_at": NAIVE}, "without a zone"),
        ({"stops_at": NAIVE}, "without a zone"),
        ({"phases": (msgspec.structs.replace(PHASE, starts_at=NAIVE),)}, "without a zone"),
        (
            {"phases": (PHASE, msgspec.structs.replace(PHASE, starts_at=START.replace(year=2020)))},
            "not in the order",
        ),
        ({"phases": (msgspec.structs.replace(PHASE, ranges=(Range("c", 0, 9),)),)}, "does not have: c"),
        ({"kind": "bandit"}, "nothing says how it draws"),
        ({"kind": "shadow"}, "a shadow has one arm"),
        ({"arms": (Arm(name="control"), Arm(name="new", mix=Mix(positions=(0,))))}, "position of a mix"),
    ],
)
def test_a_trial_that_no_service_can_run_is_named_and_the_row_before_counts(traffic, changes, said):
    traffic.move(experiment(**changes))
    assert trial_of(traffic) is None
    assert said in traffic.trials.problem
    traffic.move(experiment())
    assert (trial_of(traffic), traffic.trials.problem) == ("demo", "")
    traffic.move(experiment(**changes))
    assert trial_of(traffic) == "demo"
    assert said in traffic.trials.problem


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "greedy"},
        {"base": {"control": 1.0}},
        {"posterior": {"levels": [["DE"]]}},
        {"posterior": {"counts": "none"}},
        {"context": ("a", "b", "c", "d")},
    ],
)
def test_a_bandit_that_cannot_draw_is_named(traffic, changes):
    made = bandit()
    rules = msgspec.structs.replace(made.bandit, **changes)
    traffic.move(msgspec.structs.replace(made, bandit=rules))
    assert trial_of(traffic) is None
    assert "the newest row of the trial which does not count" in traffic.trials.problem


def test_what_a_bandit_learned_stays_until_a_newer_row_comes(traffic):
    traffic.move(bandit())
    first = traffic.trials._running[0].ready.live
    traffic.trials.look()
    assert traffic.trials._running[0].ready.live is first
    traffic.move(bandit(share=1.0))
    assert traffic.trials._running[0].ready.live is not first
    assert traffic.told == ["the trial which runs"]


def test_while_the_lake_is_away_the_last_known_trials_go_on_also_after_a_restart(traffic, tmp_path):
    traffic.move(experiment())
    away = tmp_path / "lake is away"
    folder = Path(traffic.lake.url)
    folder.rename(away)
    folder.write_text("a file in its place")
    traffic.trials.look()
    assert trial_of(traffic) == "demo"
    assert "the last known trials go on" in traffic.trials.problem
    trials = traffic.restart()
    trials.start()
    wait_until("the kept trials run", lambda: trial_of(traffic) == "demo")
    wait_until("the problem is named", lambda: "cannot be read" in trials.problem)
    folder.unlink()
    away.rename(folder)
    wait_until("the lake is read again", lambda: not trials.problem)
    assert trials.age_seconds < 10
    trials.stop()


def test_a_table_that_is_gone_ends_no_trial(traffic):
    traffic.move(experiment())
    shutil.rmtree(Path(traffic.lake.url) / TRAFFIC)
    traffic.trials.look()
    assert trial_of(traffic) == "demo"
    assert "is gone; the last known trials go on" in traffic.trials.problem


def test_a_table_that_was_made_anew_counts(traffic):
    for _ in range(2):
        traffic.move(experiment())
    shutil.rmtree(Path(traffic.lake.url) / TRAFFIC)
    traffic.move(experiment("other"))
    assert trial_of(traffic) == "other"


def test_an_older_state_of_the_table_does_not_count(traffic, monkeypatch):
    traffic.move(experiment())
    older = traffic.lake.table(TRAFFIC)
    traffic.move(experiment(), "stopped")
    monkeypatch.setattr(type(traffic.lake), "table", lambda *_: older)
    traffic.trials.look()
    assert trial_of(traffic) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"no digest\n{}", None])
def test_a_damaged_file_of_trials_is_passed_over(traffic, damage):
    traffic.move(experiment())
    file = traffic.trials._file.path
    content = file.read_bytes()
    file.write_bytes(content[:-9] + b" " * 9 if damage is None else damage)
    trials = traffic.restart()
    trials.start()
    wait_until("the lake's trials run", lambda: trial_of(traffic) == "demo")
    trials.stop()
    trials.look()
    traffic.move(experiment(), "stopped")
    assert file.read_bytes() != content


def test_a_folder_that_cannot_be_written_costs_only_the_file(traffic, tmp_path):
    (tmp_path / "serve").write_text("a file in the place of the folder")
    traffic.move(experiment())
    assert trial_of(traffic) == "demo"
    assert traffic.trials.problem == ""


def test_a_trial_takes_effect_when_all_its_versions_are_loaded(traffic):
    arms = (Arm(name="a"), Arm(name="b", version="8"), Arm(name="c", mix=Mix(positions=(1,), version="9")))
    traffic.move(experiment("demo", *arms))
    assert traffic.arms.wanted == ["8", "9"]
    assert trial_of(traffic) == "unready"
    traffic.arms.load(v8=ToyModel())
    assert trial_of(traffic) == "unready"
    traffic.arms.load(v9=ToyModel())
    assert trial_of(traffic) == "demo"
    assert traffic.told == ["the trial demo waits for the versions of its arms", "the trial demo runs"]
    traffic.move(experiment("demo", *arms), "stopped")
    assert traffic.arms.wanted == []


def test_a_trial_whose_versions_are_too_many_is_named_and_no_other_trial_gets_its_shoppers(traffic):
    traffic.arms.too_many = ["8"]
    traffic.move(experiment("demo", Arm(name="a", version="8")))
    traffic.move(experiment("canary-8", Arm(name="control"), kind="canary"))
    assert trial_of(traffic) == "unready"
    assert (
        "the trial demo does not run here: it needs version 8, and a test forbids it"
        in traffic.trials.problem
    )


def test_the_champion_needs_no_second_copy_for_an_arm_that_names_its_version(traffic):
    traffic.move(experiment("demo", Arm(name="a", version="7")))
    assert trial_of(traffic) == "demo"
    champion = traffic.versions.current
    assert traffic.trials._running[0].ready.versions == {"7": champion}
    traffic.versions.current = replace(champion, version="8")
    traffic.trials.look()
    assert traffic.trials._running[0].ready.versions == {"7": champion}
    assert trial_of(traffic) == "demo"


def test_the_shadow_is_no_trial_of_lists(traffic):
    shadow = experiment("shadow-8", Arm(name="shadow", version="8"), kind="shadow", phases=())
    traffic.move(shadow)
    assert traffic.trials.shadow() == shadow
    assert trial_of(traffic) is None
    assert traffic.arms.wanted == []
    traffic.move(msgspec.structs.replace(shadow, stops_at=START))
    assert traffic.trials.shadow() is None


def test_a_follower_thread_that_ended_is_named(traffic, monkeypatch):
    def fail(*_: object) -> None:
        os.close(-1)

    monkeypatch.setattr(type(traffic.trials), "_refresh", fail)
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    traffic.trials.start()
    wait_until("the thread has ended", lambda: "has ended" in traffic.trials.problem)
