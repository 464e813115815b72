"""Applied definitions: what begins, what changes, what stops, and what is refused by name."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, timedelta

import pytest
from mlflow.exceptions import MlflowException
from msgspec.structs import replace

from lastaisle.errors import ExitCode
from lastaisle.experiments.definition.definition import DefinitionError
from lastaisle.experiments.definition.moves import UnknownTrialError, next_move, stop_trial
from lastaisle.experiments.traffic import read_traffic, write_move
from lastaisle.lake.tables import TRAFFIC
from lastaisle.registry.ledger import Ledger, Move

from .defining import BANDIT, EXPERIMENT, NOW, Shop, experiment

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def allocations(*texts: str) -> str:
    return "\n".join(["phases:", *(f"  - {{{text}}}" for text in texts)])


def test_a_definition_starts_once_and_is_then_as_before(shop):
    shop.write(experiment())
    assert shop.outcomes() == {"demo": "started"}
    move = shop.newest()
    assert (move.state, move.trial.starts_at, move.actor) == ("running", NOW, "tests")
    assert "started by demo.yaml: experiment of control 0.5, popular 0.5" in move.reason
    version = shop.lake.version(TRAFFIC)
    assert shop.outcomes(NOW + DAY) == {"demo": "as before"}
    assert shop.lake.version(TRAFFIC) == version
    assert shop.newest().trial == move.trial


def test_an_error_in_one_file_stops_no_other_file_and_all_are_named(shop):
    shop.write(experiment("good", "placements: [cart]"), "a.yaml")
    shop.write("name: bad\narms: [", "b.yaml")
    shop.write(experiment("worse", "zzz: 1", "placements: [home]"), "c.yml")
    shop.write("read me", "README.md")
    (shop.folder / "old.yaml").mkdir()
    (shop.folder / "gone.yaml").symlink_to(shop.folder / "nowhere.yaml")
    report = shop.apply()
    assert [(one.name, one.outcome) for one in report.applied] == [("good", "started")]
    assert {one.path.name for one in report.refused} == {"b.yaml", "c.yml", "gone.yaml"}
    assert {path.name for path in report.skipped} == {"README.md", "old.yaml"}
    assert "No such file" in str(report.to_dict())


def test_the_default_folder_may_be_missing_and_no_other_place(shop):
    shop.folder.rmdir()
    assert shop.apply().applied == ()
    with pytest.raises(DefinitionError, match="there is no such file or folder") as refused:
        shop.apply(place=shop.folder / "typo")
    assert refused.value.exit_code == ExitCode.WRONG_REQUEST
    shop.settings = shop.settings.replace(experiments=str(shop.folder / "typo"))
    with pytest.raises(DefinitionError, match="set LASTAISLE_EXPERIMENTS"):
        shop.apply()


def test_two_files_of_one_name_are_both_refused(shop):
    shop.write(experiment(), "a.yaml")
    shop.write(experiment(), "b.yaml")
    assert shop.refused().count("'demo' is the name in") == 2
    assert shop.moves() == []


def test_a_trial_without_a_file_runs_on_and_is_named(shop):
    shop.write(experiment()).unlink()
    path = shop.write(experiment())
    shop.apply()
    path.unlink()
    [one] = shop.apply().applied
    assert (one.outcome, shop.newest().state) == ("without a file", "running")
    assert "experiments stop demo" in one.reason
    shop.write(experiment("demo", "zzz: 1"))
    assert shop.apply().applied == (), "the file is there, though it has an error"


@pytest.mark.parametrize("broken", ["", "zzz: 1\narms: 7"])
def test_the_kill_switch_stops_for_good_even_in_a_file_with_errors(shop, broken):
    shop.write(experiment())
    shop.apply()
    shop.write(experiment("demo", "kill: true") if not broken else f"name: demo\nkill: true\n{broken}")
    shop.registry.aliases = None
    assert shop.outcomes()["demo"] == "stopped"
    assert (shop.newest().state, shop.newest().reason) == ("stopped", "kill: true in demo.yaml")
    assert shop.outcomes()["demo"] == "over"
    shop.write(experiment())
    [one] = shop.apply().applied
    assert one.outcome == "over"
    assert "A name is used once" in one.reason
    assert shop.moves() == [("demo", "running"), ("demo", "stopped")]


def test_a_killed_file_that_never_ran_starts_nothing(shop):
    shop.write(experiment("demo", "kill: yes"))
    assert shop.outcomes() == {"demo": "over"}
    assert shop.moves() == []


def test_people_stop_by_name(shop):
    shop.write(experiment())
    shop.apply()
    assert stop_trial(shop.lake, "demo", "CTR fell", NOW, "ann").outcome == "stopped"
    assert (shop.newest().reason, shop.newest().actor) == ("CTR fell", "ann")
    assert stop_trial(shop.lake, "demo", "again", NOW, "ann").outcome == "over"
    assert len(shop.moves()) == 2
    with pytest.raises(UnknownTrialError, match="'dmo'; do you mean demo"):
        stop_trial(shop.lake, "dmo", "typo", NOW, "ann")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("layer: other", "layer has changed"),
        ("buckets: [0, 5000]", "buckets has changed"),
        ("placements: [cart]", "placements has changed"),
        ("targeting: {country: [DE]}", "targeting has changed"),
        ("start: 2026-03-01T11:00:00Z", "start has changed"),
        ("allocation: {control: 0.2, popular: 0.8}", "a changed allocation is a new phase"),
        (
            allocations(
                "allocation: {control: 0.2, popular: 0.8}",
                "start: 2026-03-09T00:00:00Z, allocation: {popular: 1}",
            ),
            "phases.0: phase 1 began at 2026-03-01 12:00 UTC with {'control': 0.5, 'popular': 0.5}",
        ),
        (
            allocations(
                "allocation: {control: 0.5, popular: 0.5}",
                "start: 2026-03-01T12:30:00Z, allocation: {popular: 1}",
            ),
            "phases.1.start: 2026-03-01T12:30:00+00:00 has passed",
        ),
        ("stop: 2026-03-01T12:30:00Z", "stop: lies in the past"),
    ],
)
def test_changes_that_would_spoil_the_figures_are_refused(shop, more, problem):
    shop.write(experiment())
    shop.apply()
    shop.write(experiment("demo", more))
    assert problem in shop.refused(NOW + HOUR)
    assert shop.moves() == [("demo", "running")]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("conversion", "ctr", "analysis has changed"),
        ("0.03", "0.05", "analysis has changed"),
        ("popular, policy: popular", "other, policy: popular", "arms has changed"),
        ("policy: popular", "policy: model", "arms has changed"),
        ("policy: popular", "policy: popular, rules: false", "arms has changed"),
        ("policy: popular", "version: 2", "arms has changed"),
    ],
)
def test_changed_arms_and_metrics_are_refused(shop, old, new, problem):
    shop.write(experiment())
    shop.apply()
    shop.write(experiment().replace(old, new))
    assert problem in shop.refused(NOW + HOUR)


def test_a_changed_kind_is_refused(shop):
    shop.write(experiment())
    shop.apply()
    shop.write(experiment(template=BANDIT))
    assert "kind has changed" in shop.refused(NOW + HOUR)


def test_a_changed_allocation_is_a_new_phase(shop):
    shop.write(experiment())
    shop.apply()
    more = "start: 2026-03-09T00:00:00Z, allocation: {control: 0.1, popular: 0.9}"
    shop.write(experiment("demo", allocations("allocation: {control: 0.5, popular: 0.5}", more)))
    assert shop.outcomes(NOW + HOUR) == {"demo": "changed"}
    first, second = shop.newest().trial.phases
    assert first.starts_at == NOW
    assert second.shares() == pytest.approx({"control": 0.1, "popular": 0.9})
    assert shop.outcomes(NOW + 20 * DAY) == {"demo": "as before"}
    shop.write(experiment())
    assert "phase 2 is gone" in shop.refused(NOW + 20 * DAY)
    moved = more.replace("03-09", "03-10")
    shop.write(experiment("demo", allocations("allocation: {control: 0.5, popular: 0.5}", moved)))
    assert "the phase began at" in shop.refused(NOW + 20 * DAY)
    assert shop.outcomes(NOW + 2 * HOUR) == {"demo": "changed"}, "it has not begun by then"


def test_the_stop_may_move_until_it_has_come(shop):
    shop.write(experiment("demo", "stop: 2026-03-09T00:00:00Z"))
    shop.apply()
    shop.write(experiment("demo", "stop: 2026-03-11T00:00:00Z"))
    assert shop.outcomes(NOW + DAY) == {"demo": "changed"}
    assert shop.outcomes(NOW + 20 * DAY) == {"demo": "as before"}
    shop.write(experiment())
    assert "it ended at 2026-03-11 00:00 UTC: take a new name" in shop.refused(NOW + 20 * DAY)
    assert shop.outcomes(NOW + DAY) == {"demo": "changed"}
    shop.write(experiment("late", "stop: 2026-02-01T00:00:00Z"))
    assert "2026-02-01T00:00:00+00:00 has passed: it would never run" in shop.refused()


def test_before_its_start_all_may_change(shop):
    shop.write(experiment("demo", "start: 2026-04-01T00:00:00Z"))
    shop.apply()
    shop.write(experiment("demo", "start: 2026-04-02T00:00:00Z", "placements: [cart]").replace("0.03", "0.1"))
    assert shop.outcomes() == {"demo": "changed"}
    assert (shop.newest().trial.starts_at.day, shop.newest().trial.placements) == (2, ("cart",))


def test_words_about_an_experiment_may_change_at_any_time(shop):
    shop.write(experiment())
    shop.apply()
    shop.write(experiment("demo", "owner: bob", "description: another text"))
    assert shop.outcomes(NOW + DAY) == {"demo": "as before"}


@pytest.mark.parametrize(
    ("one", "other", "problem"),
    [
        ([], [], "[0, 10000] overlap with [0, 10000] of one in the layer checkout"),
        (["buckets: [0, 5000]"], ["buckets: [4999, 10000]"], "overlap with"),
        (["buckets: [0, 5000]"], ["buckets: [5000, 10000]"], None),
        ([], ["layer: b"], "the layer b and the layer checkout of one meet everywhere"),
        (["placements: [cart]"], ["layer: b", "placements: [home, cart]"], "meet at cart"),
        (["placements: [cart]"], ["layer: b"], "meet at cart"),
        (["placements: [cart]"], ["layer: b", "placements: [home]"], None),
        (["placements: [cart]"], ["placements: [home]"], "overlap with"),
        (["stop: 2026-03-02T00:00:00Z"], ["start: 2026-03-02T00:00:00Z"], None),
        (["stop: 2026-03-02T00:00:00Z"], ["start: 2026-03-01T23:59:59Z"], "overlap with"),
    ],
)
@pytest.mark.parametrize("template", [EXPERIMENT, BANDIT])
@pytest.mark.parametrize("one_runs", [True, False])
def test_a_list_belongs_to_one_trial_at_most(shop, one, other, problem, template, one_runs):
    shop.write(experiment("one", *one), "one.yaml")
    if one_runs:
        shop.apply()
    shop.write(experiment("two", *other, template=template), "two.yaml")
    outcomes = shop.outcomes()
    if problem is None:
        assert outcomes["two"] == "started"
    else:
        assert problem in outcomes["two.yaml"]
        assert ("one" in outcomes) is one_runs, "what runs goes on; of two new ones none begins"


def test_a_stopped_trial_and_releases_leave_their_buckets(shop):
    shop.write(experiment("one"), "one.yaml")
    shop.apply()
    stop_trial(shop.lake, "one", "done", NOW, "ann")
    log = read_traffic(shop.lake)
    canary = replace(log.newest()["one"].trial, name="canary-2", kind="canary")
    write_move(shop.lake, next_move(log, canary, "running", NOW, reason="", actor=""), log)
    shop.write(experiment("two"), "two.yaml")
    assert shop.outcomes() == {"one": "over", "two": "started"}


def test_a_change_may_not_meet_another_trial_either(shop):
    shop.write(experiment("one", "stop: 2026-03-02T00:00:00Z"), "one.yaml")
    shop.write(experiment("two", "start: 2026-03-02T00:00:00Z"), "two.yaml")
    assert shop.outcomes() == {"one": "started", "two": "started"}
    shop.write(experiment("one"), "one.yaml")
    outcomes = shop.outcomes()
    assert "overlap with" in outcomes["one.yaml"]
    assert outcomes["two"] == "as before"


def test_an_alias_is_fixed_and_the_champion_is_followed(shop):
    text = (
        "name: demo\narms: [{name: a, alias: champion}, {name: b, alias: challenger, mix: {positions: [1], "
    )
    text += "alias: challenger}}]\nanalysis: {primary: ctr, minimum_effect: 0.1}\n"
    shop.write(text)
    shop.apply()
    champion, new = shop.newest().trial.arms
    assert (champion.version, new.version, new.mix.version) == (None, "3", "3")
    shop.registry.held = {"champion": "3", "challenger": "2"}
    assert shop.outcomes(NOW + HOUR) == {"demo": "as before"}
    assert shop.newest().trial.arms[1].version == "3"


def test_a_trial_of_the_champion_asks_the_registry_nothing(shop):
    shop.write(experiment())
    shop.apply()
    assert shop.registry.asked == 0


@pytest.mark.parametrize(
    ("arm", "problem"),
    [
        ("version: 9", "arms.1.version: recommender has no version '9'"),
        ("alias: chalenger", "arms.1.alias: no version has the alias 'chalenger'; do you mean challenger?"),
        ("mix: {positions: [1], version: 9}", "arms.1.mix.version: recommender has no version '9'"),
        ("version: 2", "arms.1.version: version 2: the gate refused it at 2026-03-01 12:00 UTC (worse)"),
        ("version: 1", "arms.1.version: version 1: a rollback took it back"),
        ("version: 2, allow_refused: true", None),
        ("version: 1, allow_refused: true", None),
        ("version: 3", None),
    ],
)
def test_versions_exist_and_are_not_refused_unless_the_file_says_so(shop, arm, problem):
    ledger = Ledger(shop.lake, "recommender")
    for number, (action, alias, before, version, reason) in enumerate(
        [
            ("promote", "champion", None, "3", "better"),
            ("register", "challenger", None, "2", "new"),
            ("refuse", "champion", "3", "2", "worse"),
            ("promote", "champion", "3", "1", "better"),
            ("rollback", "champion", "1", "3", "CTR fell"),
        ]
    ):
        ledger.write(
            Move(str(number), NOW, "ann", action, "recommender", alias, before, version, reason, "run", "key")
        )
    shop.write(experiment().replace("policy: popular", arm))
    if problem is None:
        assert shop.outcomes() == {"demo": "started"}
    else:
        assert problem in shop.refused()


def test_a_version_that_was_rolled_back_meanwhile_is_named(shop):
    shop.write(experiment().replace("policy: popular", "version: 2"))
    shop.apply()
    ledger = Ledger(shop.lake, "recommender")
    given = {"moved_at": NOW, "actor": "ann", "model_name": "recommender", "run_id": "r", "run_key": "k"}
    for action, before, version in (("promote", None, "1"), ("promote", "1", "2"), ("rollback", "2", "1")):
        move = {"move_id": action + version, "action": action, "alias": "champion", "from_version": before}
        ledger.write(Move(**given, **move, to_version=version, reason="CTR fell"))
    [one] = shop.apply().applied
    assert one.outcome == "as before"
    assert "the arm popular shows version 2: a rollback took it back" in one.notes[0]


def test_without_mlflow_the_other_definitions_are_applied(shop):
    def away() -> None:
        raise MlflowException("no connection")

    shop.registry.aliases = away
    shop.write(experiment("one", "placements: [cart]"), "one.yaml")
    text = experiment("two", "placements: [home]").replace("policy: popular", "alias: challenger")
    shop.write(text, "two.yaml")
    outcomes = shop.outcomes()
    assert outcomes["one"] == "started"
    assert "MLflow cannot say whether its versions exist: no connection" in outcomes["two.yaml"]


def test_a_bandit_keeps_what_it_learned_when_its_file_changes(shop):
    shop.write(experiment(template=BANDIT))
    shop.apply()
    log = read_traffic(shop.lake)
    trial = log.newest()["demo"].trial
    learned = replace(trial, bandit=replace(trial.bandit, share=0.5, posterior={"popular": [3, 4]}))
    write_move(shop.lake, next_move(log, learned, "running", NOW, reason="", actor=""), log)
    assert shop.outcomes(NOW + HOUR) == {"demo": "as before"}
    shop.write(experiment(template=BANDIT.replace("floor: 0.1", "floor: 0.2")))
    assert shop.outcomes(NOW + HOUR) == {"demo": "changed"}
    bandit = shop.newest().trial.bandit
    assert (bandit.floor, bandit.share, bandit.posterior) == (0.2, 0.5, {"popular": [3, 4]})
    shop.write(experiment(template=BANDIT.replace("thompson", "ucb")))
    assert "bandit.algorithm: algorithm has changed" in shop.refused(NOW + HOUR)


def test_a_row_that_cannot_be_read_is_written_anew(shop):
    shop.write(experiment())
    shop.apply()
    row = shop.lake.scan(TRAFFIC).slice(0, 1).to_pylist()[0]
    table = shop.lake.scan(TRAFFIC)
    broken = table.from_pylist([row | {"entry": 1, "move_id": "x", "trial": "{"}], schema=table.schema)
    shop.lake.append(TRAFFIC, broken, key="x")
    assert read_traffic(shop.lake).problems
    assert shop.outcomes() == {"demo": "changed"}
    assert read_traffic(shop.lake).problems == ()
    assert shop.outcomes() == {"demo": "as before"}


def test_the_start_is_the_newest_moment_of_the_data(shop, monkeypatch):
    shop.write(experiment())
    past = NOW - 400 * DAY
    monkeypatch.setattr("lastaisle.experiments.definition.apply.data_clock", lambda lake: past)
    shop.apply()
    assert shop.newest().trial.starts_at == past.astimezone(UTC)


def test_several_processes_that_apply_at_once_write_each_move_once(shop):
    for number in range(3):
        buckets = f"buckets: [{number * 3000}, {number * 3000 + 3000}]"
        shop.write(experiment(f"e{number}", buckets), f"{number}.yaml")
    reports = []
    threads = [threading.Thread(target=lambda: reports.append(shop.apply())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(shop.moves()) == [(f"e{number}", "running") for number in range(3)]
    started = [one.name for report in reports for one in report.applied if one.outcome == "started"]
    assert sorted(started) == ["e0", "e1", "e2"]
    assert not any(report.refused for report in reports)
    assert dataclasses.asdict(reports[0])["place"] == shop.folder
