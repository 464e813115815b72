"""Trainings, releases and rollbacks of a made-up shop."""

import dataclasses
import json
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lastaisle.errors import ExitCode, NotEnoughDataError, RegistryError
from lastaisle.evaluation.evaluate import evaluate_candidate
from lastaisle.registry.ledger import Ledger, LedgerConflictError
from lastaisle.registry.plan import TrainingPlan
from lastaisle.registry.registry import Registry
from lastaisle.release.card.place import MARKDOWN
from lastaisle.release.correction import plan_correction
from lastaisle.release.gate import GateRules
from lastaisle.release.release import NotEvaluatedError, current_champion, release_candidate
from lastaisle.release.rollback import NeverPromotedError, rollback
from lastaisle.release.start import champion_to_refresh, training_start
from lastaisle.settings import SettingsError
from lastaisle.training.planning import StalePlanError, plan_window
from lastaisle.training.refresh import NothingToRefreshError
from lastaisle.training.train import train_candidate
from models.options import TrainingOptions
from models.stored import ModelError

pytestmark = pytest.mark.training

STRICT = GateRules(margin=-1.0)  # no candidate is better by 1.0, so all but the first are refused


def back(home, **options):
    return rollback(home.lake, home.registry, actor="tester", **options)


def test_a_shop_from_first_champion_to_rollback(home):
    first = home.day(1)
    assert first.promote
    assert home.registry.aliases() == {"challenger": "1", "champion": "1", "anchor": "1"}

    second = home.day(2)
    assert second.promote
    assert home.registry.aliases() == {"challenger": "2", "champion": "2", "previous": "1", "anchor": "1"}

    third = home.day(3, STRICT)
    assert not third.promote
    assert home.registry.aliases() == {"challenger": "3", "champion": "2", "previous": "1", "anchor": "1"}

    before = home.state()
    planned = back(home, reason="customers complain")
    assert (planned.from_version, planned.to_version, planned.moved) == ("2", "1", False)
    assert home.state() == before

    done = back(home, reason="customers complain", dry_run=False)
    assert (done.from_version, done.to_version, done.previous, done.moved) == ("2", "1", None, True)
    assert home.registry.aliases() == {"challenger": "3", "champion": "1", "anchor": "1"}

    moves = Ledger(home.lake, home.settings.registry.model_name).moves()
    assert [(move.action, move.alias, move.from_version, move.to_version) for move in moves] == [
        ("register", "challenger", None, "1"),
        ("promote", "champion", None, "1"),
        ("anchor", "anchor", None, "1"),
        ("register", "challenger", "1", "2"),
        ("promote", "champion", "1", "2"),
        ("register", "challenger", "2", "3"),
        ("refuse", "champion", "2", "3"),
        ("rollback", "champion", "2", "1"),
    ]
    assert {move.actor for move in moves} == {"tester"}
    assert moves[-1].reason == "customers complain"
    assert "not worse" in moves[4].reason
    with pytest.raises(RegistryError, match="no champion before"):
        back(home, reason="again", dry_run=False)


def test_a_second_call_of_each_step_changes_nothing(home):
    home.released(1)
    decision = home.day(2)
    before = home.state()
    run_id = home.registry.finished_run(home.plan(2).run_key)
    assert home.train(2) == run_id
    assert home.release(run_id, STRICT) == decision  # decided only once, by the first rules
    assert home.evaluate(run_id).champion_version == "1"  # measured only once, against the former champion
    assert home.state() == before


def test_a_run_names_its_plan_data_and_code(home, monkeypatch):
    monkeypatch.setenv("LASTAISLE_GIT_REVISION", "abc123")
    from lastaisle.registry.revision import git_revision

    git_revision.cache_clear()
    run_id = home.train(1)
    report = home.evaluate(run_id)
    git_revision.cache_clear()
    run = home.registry.client.get_run(run_id)
    assert run.data.tags["lastaisle.git_revision"] == "abc123"
    assert json.loads(run.data.tags["lastaisle.lake_versions"]) == home.lake.versions(["events"])
    assert run.data.tags["lastaisle.window_end"] == "2025-10-06T16:00:00+00:00"
    assert run.data.tags["lastaisle.contract_version"]
    assert run.data.params["seed"] == "7"
    assert run.data.metrics["recall_at_20"] == report.candidate.overall.metrics["recall@20"].value
    assert run.data.metrics["popularity.recall_at_20"] < run.data.metrics["recall_at_20"]
    plots = {file.path: file.file_size for file in home.registry.client.list_artifacts(run_id, "plots")}
    assert set(plots) == {"plots/comparison.png", "plots/slices.png"}
    assert max(plots.values()) < 100_000
    (row,) = home.lake.scan("training_runs").to_pylist()
    assert (row["run_id"], row["kind"], row["warm_start_version"]) == (run_id, "incremental", None)
    assert row["sessions"] == run.data.metrics["train_sessions"] > 200


def test_the_report_compares_on_the_same_targets(home):
    home.released(1)
    report = home.evaluate(home.train(2))
    assert set(report.models) == {"candidate", "champion", "popularity", "repeat", "cooccurrence"}
    assert report.targets == 4 * report.sessions
    assert {evaluation.overall.targets for evaluation in report.models.values()} == {report.targets}
    candidate = report.candidate.overall
    champion = report.champion.overall
    difference = candidate.against["champion"]["recall@20"]
    expected = candidate.metrics["recall@20"].value - champion.metrics["recall@20"].value
    assert difference.value == pytest.approx(expected)
    assert difference.low <= difference.value <= difference.high
    for k in (1, 5, 10, 20):
        for name in ("precision", "recall", "hit_rate", "mrr", "ndcg", "coverage"):
            estimate = candidate.metrics[f"{name}@{k}"]
            assert estimate.low <= estimate.value <= estimate.high
    assert candidate.metrics["precision@20"].low == pytest.approx(candidate.metrics["recall@20"].low / 20)
    slices = report.candidate.slices
    assert list(report.candidate.objectives) == ["next_item", "new_item"]  # the shop's logs tell of no cart
    assert slices["returning"].targets == report.targets  # the same shoppers come each day
    assert slices["short_sessions"].targets == report.targets
    assert type(report).from_json(report.to_json()) == report


def test_a_stale_plan_is_refused(home):
    home.released(2)
    with pytest.raises(StalePlanError, match="champion version 1 has learned up to 2025-10-07T16:00"):
        home.plan(1)
    assert home.plan(2).run_key == current_champion(home.lake, home.registry).run_key
    assert home.plan(1, kind="full").warm_start_version is None


def test_after_an_hour_is_ingested_again_the_champions_training_is_repeated_from_its_start(home, shop):
    home.released(1, 2)
    champion = current_champion(home.lake, home.registry)
    plan = home.registry.plan_of(champion.run_id)
    with pytest.raises(StalePlanError, match="version 2 has learned from all that is there"):
        plan_correction(home.lake, home.settings, home.registry)

    again = shop.events(days=1, sessions=40, seed=2)
    early = again.set_column(
        again.schema.get_field_index("occurred_at"),
        "occurred_at",
        pc.subtract(again["occurred_at"], pa.scalar(timedelta(days=10))),
    )
    merely_replayed = early.set_column(
        early.schema.get_field_index("event_date"), "event_date", pc.cast(early["occurred_at"], pa.date32())
    )
    home.lake.append("events", merely_replayed, key="long ago")
    for settings in (home.settings, home.settings.replace(replay_hours=24.0)):
        with pytest.raises(StalePlanError, match="has learned from all that is there"):
            plan_correction(home.lake, settings, home.registry)

    home.lake.append("events", again, key="again")  # the first day's hours, which the window of day 2 reads
    corrected = plan_correction(home.lake, home.settings, home.registry)
    assert (corrected.window, corrected.holdout_end) == (plan.window, plan.holdout_end)
    assert corrected.warm_start_version == plan.warm_start_version == "1"
    assert corrected.run_key != plan.run_key

    run_id = train_candidate(corrected, home.lake, home.registry)
    assert home.evaluate(run_id).champion_version == "2"
    assert home.release(run_id).promote
    with pytest.raises(StalePlanError, match="version 3 has learned from all"):
        plan_correction(home.lake, home.settings, home.registry)


def test_a_full_training_is_not_repeated_for_one_corrected_hour(home, shop):
    with pytest.raises(StalePlanError, match="no version serves"):
        plan_correction(home.lake, home.settings, home.registry)
    home.day(1, kind="full")
    home.lake.append("events", shop.events(days=1, sessions=40, seed=2), key="again")
    with pytest.raises(StalePlanError, match="of a full training"):
        plan_correction(home.lake, home.settings, home.registry)


def test_rows_after_a_partition_do_not_change_its_training(home, shop):
    before = home.plan(1).run_key
    home.lake.append("events", shop.events(days=4, sessions=10).slice(3 * 50), key="the fourth day")
    assert home.plan(1).run_key == before


def test_an_incremental_training_starts_from_the_champion_and_another_model_from_scratch(home, shop):
    settings = home.settings.replace(architecture="popularity")
    first = plan_window(home.lake, settings, shop.end_of(1))
    assert (first.architecture, first.warm_start_version) == ("popularity", None)
    home.day(1)
    champion = current_champion(home.lake, home.registry)
    assert champion.architecture == "cooccurrence"
    second, other, full = (
        plan_window(home.lake, settings, shop.end_of(2), kind, champion, architecture=architecture)
        for kind, architecture in (("incremental", None), ("incremental", "popularity"), ("full", None))
    )
    assert (second.architecture, second.warm_start_version) == ("cooccurrence", champion.version)
    assert (other.architecture, other.warm_start_version) == ("popularity", None)
    assert (full.architecture, full.warm_start_version) == ("popularity", None)
    shaped = dataclasses.replace(champion, options=champion.options | {"layers": 2, "epochs": 1})
    alike, another = (
        plan_window(home.lake, settings, shop.end_of(2), "incremental", shaped, options=options)
        for options in ({"alpha": 0.5}, {"layers": 3})
    )
    usual = TrainingOptions().epochs
    assert (alike.options["layers"], alike.options["epochs"], alike.options["alpha"]) == (2, usual, 0.5)
    assert alike.warm_start_version == champion.version
    assert (another.options["layers"], another.warm_start_version) == (3, None)
    trained = home.registry.load_recommender(train_candidate(other, home.lake, home.registry))
    assert trained.name == "popularity"


def test_hyperparameters_of_the_settings_are_planned(home, shop):
    settings = home.settings.replace(hyperparameters='{"layers": 2, "loss": "bpr_max"}')
    plan = plan_window(home.lake, settings, shop.end_of(1), architecture="gru")
    assert (plan.options["layers"], plan.options["loss"], plan.options["seed"]) == (2, "bpr_max", 7)
    for wrong in ("layers=2", "[2]"):
        with pytest.raises(SettingsError, match="LASTAISLE_HYPERPARAMETERS should be a JSON object"):
            settings.replace(hyperparameters=wrong).training_options()


def test_late_rows_change_the_training_and_later_days_do_not(home, shop):
    before = home.plan(1).run_key
    late = shop.events(days=5).slice(0, 5)
    home.lake.append("events", late, key="late")
    after = home.plan(1).run_key
    assert after != before
    table = shop.events(days=5)
    home.lake.append(
        "events", table.filter(table["event_date"].to_numpy() > table["event_date"][9000].as_py()), key="x"
    )
    assert home.plan(1).run_key == after


def test_compaction_does_not_change_the_training(home, shop):
    home.lake.append("events", shop.events(days=3).slice(0, 5), key="second file of the first day")
    before, files = home.plan(1).run_key, home.lake.table("events").file_uris()
    home.lake.table("events").optimize.compact()
    assert home.lake.table("events").file_uris() != files
    assert home.plan(1).run_key == before


def test_a_plan_survives_json(home):
    plan = home.plan(1)
    assert TrainingPlan.from_json(plan.to_json()) == plan
    before = json.loads(plan.to_json())
    del before["replay_hours"]  # as plans were written before there was such a reach
    assert TrainingPlan.from_json(json.dumps(before)) == dataclasses.replace(plan, replay_hours=0.0)
    assert (plan.window.end - plan.window.start, plan.holdout_end - plan.window.end) == (
        timedelta(hours=48),
        timedelta(hours=8),
    )


def test_replay_hours_are_part_of_the_run_key_of_incremental_trainings_only(home, shop):
    assert home.plan(1).replay_hours == home.settings.learning.replay_hours == 720
    none = home.settings.replace(replay_hours=0.0)
    keys = {plan_window(home.lake, each, shop.end_of(1)).run_key for each in (home.settings, none)}
    assert len(keys) == 2
    full, other = (plan_window(home.lake, each, shop.end_of(1), "full") for each in (home.settings, none))
    assert full == other
    assert full.replay_hours == 0


def test_a_warm_start_replays_sessions_from_before_its_window(home, shop):
    home.settings = home.settings.replace(window_hours=24.0)
    for day in (1, 2, 3):
        home.day(day)
    run_id = current_champion(home.lake, home.registry).run_id
    measured = home.registry.metrics(run_id)
    assert measured["replayed_sessions"] == pytest.approx(100, abs=40)
    assert measured["train_sessions"] - measured["replayed_sessions"] == pytest.approx(400, abs=3)


def test_too_few_sessions_are_refused(home, shop):
    settings = home.settings.replace(window_hours=1.0)
    plan = plan_window(home.lake, settings, shop.end_of(1), architecture="cooccurrence")
    with pytest.raises(NotEnoughDataError, match="17 sessions of two items or more"):
        train_candidate(plan, home.lake, home.registry)
    assert home.state()["runs"] == []


def test_a_log_that_is_shorter_than_the_hours_that_judge_is_named(home):
    home.settings = home.settings.replace(holdout_hours=24 * 5)
    with pytest.raises(NotEnoughDataError, match=r"oldest event .*set a smaller LASTAISLE_HOLDOUT_HOURS"):
        home.train(2)


def test_a_release_needs_an_evaluation_against_the_current_champion(home):
    home.released(1)
    second, third = home.train(2), home.train(3)
    with pytest.raises(NotEvaluatedError, match="has no evaluation"):
        home.release(second)
    home.evaluate(second)
    home.evaluate(third)
    assert home.release(second).promote
    with pytest.raises(NotEvaluatedError, match="now version 2"):
        home.release(third)
    home.evaluate(third)
    assert home.release(third, GateRules(margin=1.0, anchor_margin=1.0)).promote
    assert home.registry.aliases() == {"challenger": "3", "champion": "3", "previous": "2", "anchor": "1"}


def test_a_release_needs_an_evaluation_by_the_lists_that_services_get(home):
    run_id = home.train(1)
    home.evaluate(run_id)
    other = Registry(home.settings.replace(exclude_seen=True))
    before = home.state()
    with pytest.raises(NotEvaluatedError, match=r"the objective next_item.* new_item"):
        release_candidate(run_id, home.lake, other, actor="tester")
    assert home.state() == before
    assert evaluate_candidate(run_id, home.lake, other).served == "new_item"
    assert release_candidate(run_id, home.lake, other, actor="tester").judged


def test_a_decision_stays_when_the_lists_that_services_get_change(home):
    run_id = home.train(1)
    home.evaluate(run_id)
    made = home.release(run_id)
    other = Registry(home.settings.replace(exclude_seen=True))
    assert release_candidate(run_id, home.lake, other, actor="tester") == made


def test_impossible_rollbacks_are_refused(home):
    home.released(1)
    with pytest.raises(RegistryError, match=r"no version '9'.* it has 1"):
        back(home, to_version="9", reason="why not")
    with pytest.raises(RegistryError, match="needs a reason"):
        back(home, reason=" ")
    same = back(home, to_version="1", reason="why not", dry_run=False)
    assert not same.moved
    assert len(Ledger(home.lake, home.settings.registry.model_name).moves()) == 3


def test_a_version_that_the_gate_refused_becomes_champion_only_by_force(home):
    for day, rules in ((1, None), (2, None), (3, STRICT)):
        home.day(day, rules)
    before = home.state()
    for dry_run in (True, False):
        with pytest.raises(NeverPromotedError, match=r"the gate refused version 3: .*--force") as refused:
            back(home, to_version="3", reason="we need it", dry_run=dry_run)
        assert refused.value.exit_code == ExitCode.WRONG_REQUEST
    assert home.state() == before

    done = back(home, to_version="3", reason="we need it", dry_run=False, force=True)
    assert (done.from_version, done.to_version, done.previous) == ("2", "3", "2")
    assert (done.forced, done.moved) == (True, True)
    assert home.registry.aliases() == {"challenger": "3", "champion": "3", "previous": "2", "anchor": "1"}
    (*_, move) = Ledger(home.lake, home.settings.registry.model_name).moves()
    assert move.reason.startswith("we need it Forced: the gate refused version 3: ")
    name = home.settings.registry.model_name
    said = f"tester made this version champion by force on {move.moved_at:%Y-%m-%d %H:%M} UTC: we need it"
    first, second, *_ = home.registry.client.get_model_version(name, "3").description.split("\n\n")
    assert first.startswith("Now: champion. Version 3 is champion since ")
    assert second.startswith(said)
    card = home.registry.read_text(move.run_id, MARKDOWN)
    assert "**Refused by the gate.**" in card
    assert "**Champion by force.** tester made this version champion by force" in card

    start = training_start(home.lake, home.registry)
    assert start.version == "1", "the gate refused 3, and people left 2"
    with pytest.raises(NothingToRefreshError, match="champion, version 3: version 3 was refused on"):
        champion_to_refresh(home.lake, home.registry)
    with pytest.raises(LedgerConflictError, match=r"version 2 .* but version 3 serves"):
        back(home, reason="guardrail", dry_run=False, leaving="2")

    undone = back(home, reason="it was no better", dry_run=False, leaving="3")
    assert (undone.to_version, undone.previous, undone.forced) == ("2", "1", False)


def test_a_version_that_was_promoted_once_needs_no_force(home):
    home.released(1, 2)
    back(home, reason="bad", dry_run=False)
    again = back(home, to_version="2", reason="it was good after all", dry_run=False)
    assert (again.to_version, again.previous, again.forced) == ("2", "1", False)


def test_a_version_that_the_gate_has_not_judged_needs_force(home):
    home.released(1)
    run_id = home.train(2)
    home.evaluate(run_id)
    tags = home.registry.tags(run_id)
    version = home.registry.register(run_id, {"run_key": tags["run_key"]})
    with pytest.raises(NeverPromotedError, match="the gate has not judged version 2"):
        back(home, to_version=version, reason="try it", dry_run=False)
    assert back(home, to_version=version, reason="try it", dry_run=False, force=True).previous == "1"
    described = home.registry.client.get_model_version(home.settings.registry.model_name, version).description
    assert "by force" in described


def test_a_repeated_forced_request_moves_once_and_says_it_once(home):
    for day, rules in ((1, None), (2, STRICT)):
        home.day(day, rules)
    request = {"to_version": "2", "reason": "need", "dry_run": False, "force": True}
    reports = [back(home, **request, request_id="manual__1") for _ in range(2)]
    assert reports[0] == reports[1]
    assert reports[0].previous == "1"
    *_, decided, _ = Ledger(home.lake, "checkout-recommender").moves()
    home.registry.set_aliases({"champion": "1", "previous": None})  # as after a kill before the aliases moved
    home.registry.mark_aliases(decided.move_id)
    assert back(home, **request) == reports[0]
    assert sum(m.action == "rollback" for m in Ledger(home.lake, "checkout-recommender").moves()) == 1


def test_one_rollback_request_moves_once(home):
    home.released(1, 2, 3)
    reports = [back(home, reason="bad", dry_run=False, request_id="manual__1") for _ in range(2)]
    assert reports[0] == reports[1]
    assert home.registry.aliases() == {"challenger": "3", "champion": "2", "previous": "1", "anchor": "1"}
    back(home, reason="bad too", dry_run=False, request_id="manual__2")
    assert home.registry.aliases() == {"challenger": "3", "champion": "1", "anchor": "1"}


def test_an_objective_that_the_model_would_ignore_is_refused(home):
    home.settings = home.settings.replace(hyperparameters='{"objective_cart": 3}')
    with pytest.raises(ModelError, match="cooccurrence model learns from all events alike"):
        home.train(1)
