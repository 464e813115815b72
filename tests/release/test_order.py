"""Releases never go back in time unless told, and no version is judged by hours that it has learned."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import ExitCode
from lastaisle.evaluation.judging import LearnedHoursError, judging_sessions
from lastaisle.registry.ledger import Ledger
from lastaisle.registry.tags import PLAN
from lastaisle.release.decisions import DECISION
from lastaisle.release.gate import GateRules
from lastaisle.release.release import OlderTrainingError, RolledBackError, release_candidate
from lastaisle.release.rollback import rollback
from lastaisle.training.kinds.refresh import in_judging_half
from lastaisle.training.planning import plan_window
from lastaisle.training.train import train_candidate

pytestmark = pytest.mark.training

LAX = GateRules(margin=1.0)
ROOT = Path(__file__).resolve().parents[2]


def back(home, **options):
    return rollback(home.lake, home.registry, actor="tester", reason="bad", dry_run=False, **options)


def moves_of(home):
    return Ledger(home.lake, home.settings.registry.model_name).moves()


def train_until(home, data_end, kind="full"):
    plan = plan_window(home.lake, home.settings, data_end, kind, architecture="cooccurrence")
    return train_candidate(plan, home.lake, home.registry)


def test_a_candidate_of_a_version_that_was_rolled_back_is_neither_reused_nor_released(home):
    home.released(1, 2, rules=LAX)
    early = home.train(3)  # from version 2
    back(home)
    with pytest.raises(RolledBackError, match=r"version 2, from which run .* started, was rolled back on 20"):
        home.evaluate(early)
        home.release(early, LAX)
    again = home.train(3)  # from version 1
    assert again != early
    assert [home.registry.plan_of(run).warm_start_version for run in (early, again)] == ["2", "1"]
    home.evaluate(again)
    assert home.release(again, LAX).promote
    assert home.registry.aliases()["champion"] == "3"


def test_a_day_that_was_rolled_back_is_not_said_to_be_promoted(home):
    home.released(1, rules=LAX)
    run_id = home.train(2)
    home.evaluate(run_id)
    home.release(run_id, LAX)
    back(home)
    before = home.state()
    with pytest.raises(
        RolledBackError, match=r"version 2, .* by tester to version 1 \(bad\): nothing was moved"
    ):
        home.day(2, LAX)
    assert home.state() == before
    assert RolledBackError.exit_code == ExitCode.ROLLED_BACK

    back(home, to_version="2")  # as the message says
    assert home.release(run_id, LAX).promote
    assert home.registry.aliases() == {
        "challenger": "2",
        "champion": "2",
        "previous": "1",
        "anchor": "1",
    }


def test_a_second_release_without_the_file_of_its_decision_says_what_the_ledger_says(home, monkeypatch):
    home.released(1)
    run_id = home.train(2)
    home.evaluate(run_id)
    decision = home.release(run_id, LAX)
    read = home.registry.read_text
    monkeypatch.setattr(
        home.registry, "read_text", lambda run, path: None if path == DECISION else read(run, path)
    )
    assert home.release(run_id, GateRules(margin=-1.0)) == decision
    older = home.lake.scan("releases").drop_columns(["decision", "chain"])
    home.lake.overwrite("releases", older, key="as an older release wrote it")
    again = home.release(run_id, GateRules(margin=-1.0))
    assert again.promote
    assert again.reasons == (" ".join(decision.reasons),)


def test_an_older_training_replaces_no_fresher_champion_unless_told(home, shop, monkeypatch):
    older = train_until(home, shop.end_of(2))
    home.day(2, LAX, kind="full")
    same_hours = train_until(home, shop.end_of(2), "incremental")
    home.evaluate(same_hours)
    assert home.release(same_hours, LAX).promote, "the same hours are not older"

    older = train_until(home, shop.end_of(2) - timedelta(hours=4))
    home.evaluate(older)
    before = home.state()
    with pytest.raises(
        OlderTrainingError, match=r"up to 2025-10-07T12:00.* version 2 up to 2025-10-07T16:00"
    ):
        home.release(older, LAX)
    assert home.state() == before
    monkeypatch.setenv("LASTAISLE_HOME", str(home.settings.home))
    refused = CliRunner().invoke(cli.app, ["release", "--run-id", older])
    assert refused.exception.exit_code == ExitCode.OLDER_TRAINING
    told = release_candidate(older, home.lake, home.registry, actor="tester", rules=LAX, allow_older=True)
    assert told.promote
    assert home.registry.aliases()["champion"] == "3"


def test_a_champion_that_moved_on_is_judged_by_hours_that_it_has_not_learned(home, shop):
    waiting = train_until(home, shop.end_of(2))
    newer = train_until(home, shop.end_of(2) + timedelta(hours=5))
    home.evaluate(newer)
    assert home.release(newer, LAX).promote
    report = home.evaluate(waiting)
    assert report.evaluated_from == shop.end_of(2) - timedelta(hours=3)
    assert report.evaluated_to == shop.end_of(2)
    assert 40 <= report.sessions <= 52, "400 sessions a day"


@pytest.mark.parametrize("hours", [7, 8, 24])
def test_too_few_hours_that_neither_has_learned_are_refused(home, shop, hours):
    waiting = train_until(home, shop.end_of(2))
    newer = train_until(home, shop.end_of(2) + timedelta(hours=hours))
    home.evaluate(newer)
    assert home.release(newer, LAX).promote
    with pytest.raises(
        LearnedHoursError, match=r"champion version 1 has learned up to 2025-10-0.*: train again"
    ):
        home.evaluate(waiting)
    assert LearnedHoursError.exit_code == ExitCode.NOT_ENOUGH_DATA


def test_sessions_that_a_refresh_learned_judge_no_version_that_started_from_it(home, shop):
    plan = home.registry.plan_of(home.train(2))
    whole = judging_sessions(plan, {}, home.lake).read.log
    middle = plan.window.end + timedelta(hours=4)
    refreshed = replace(plan, kind="refresh", half_learned_until=middle)
    for own, others in ((plan, {"champion": refreshed}), (refreshed, {})):
        judging = judging_sessions(own, others, home.lake)
        log = judging.read.log
        assert judging.start == plan.window.end
        early = log.ended_at < middle.timestamp()
        assert in_judging_half(log.select(early)).all()
        assert 0.3 < early.sum() / (whole.ended_at < middle.timestamp()).sum() < 0.7
        assert (~early).sum() == (whole.ended_at >= middle.timestamp()).sum()


def test_a_training_from_a_refreshed_version_remembers_the_sessions_of_the_refresh(home, shop):
    home.released(1)
    champion = home.registry.champion("1")
    until = shop.end_of(1) + timedelta(hours=3)
    plans = [
        plan_window(
            home.lake, home.settings, shop.end_of(2), kind, replace(champion, half_learned_until=until)
        )
        for kind in ("incremental", "full")
    ]
    assert [plan.half_learned_until for plan in plans] == [until, None]


def test_a_champion_of_an_earlier_release_is_planned_by_its_old_key(home, shop):
    """Plans of 0.1 name no run that they start from, and their keys do not hold it."""
    home.day(1)
    of_02 = replace(home.plan(2), warm_start_run_id=None)
    legacy = plan_window(
        home.lake, home.settings, shop.end_of(2), repeats=of_02, champion=home.registry.champion("1")
    )
    assert legacy.run_key != home.plan(2).run_key
    assert legacy.warm_start_run_id is None
    run_id = train_candidate(legacy, home.lake, home.registry)
    stored = json.loads(legacy.to_json())
    del stored["warm_start_run_id"], stored["half_learned_until"]
    home.registry.set_tag(run_id, PLAN, json.dumps(stored))
    home.evaluate(run_id)
    assert home.release(run_id, LAX).promote
    assert home.plan(2).run_key == legacy.run_key
    assert home.train(2) == run_id


def test_two_processes_that_release_one_run_at_once_make_one_version(home):
    run_id = home.train(1)
    home.evaluate(run_id)
    moment = time.time() + 12
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.release.registering", str(home.settings.home), run_id, str(moment)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [(*process.communicate(), process.returncode) for process in processes]
    assert [(out, code) for out, _, code in ended] == [("1", 0), ("1", 0)], "\n".join(
        told for _, told, _ in ended
    )
    versions = home.registry.client.search_model_versions(f"name = '{home.registry.model_name}'")
    assert [str(version.version) for version in versions] == ["1"]
    assert [move.action for move in moves_of(home)] == ["register", "promote", "anchor"]


def test_of_two_versions_that_two_processes_made_the_first_stays(home):
    run_id = home.train(1)
    tags = {"run_key": "k"}
    home.registry._create_version(run_id, tags)
    home.registry._create_version(run_id, tags)
    home.registry.client.create_model_version(home.registry.model_name, "/mine", run_id)
    assert home.registry.register(run_id, tags) == "1"
    versions = home.registry.client.search_model_versions(f"name = '{home.registry.model_name}'")
    assert sorted(str(version.version) for version in versions) == ["1", "3"], "3 was made by hand"
