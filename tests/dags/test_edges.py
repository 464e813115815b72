"""The few edges whose loss would do harm."""

import runpy
from datetime import timedelta
from pathlib import Path

import pytest

RELEASING = ("retrain_incremental", "retrain_full", "refresh_on_abandonment", "train_federated")


def test_raw_rows_are_validated_before_they_are_anonymized(dagbag):
    dag = dagbag.dags["ingest_sessions"]
    assert dag.get_task("anonymize_shard").upstream_task_ids == {"ingest_batches"}
    assert dag.get_task("anonymize_shard").trigger_rule == "all_done_min_one_success"


def test_events_are_announced_only_when_they_are_there(dagbag):
    announce = dagbag.dags["ingest_sessions"].get_task("announce")
    assert announce.upstream_task_ids == {"anonymize_shard"}
    assert announce.trigger_rule == "all_success"
    assert [asset.name for asset in announce.outlets] == ["events"]


def test_only_announce_wakes_the_training(dagbag):
    dag = dagbag.dags["ingest_sessions"]
    found = {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks if task.outlets}
    assert found == {
        "anonymize_shard": ["arrivals"],
        "announce": ["events"],
        "announce_late": ["late_events"],
        "announce_exposures": ["exposures"],
        "go_on": ["backlog"],
    }
    woken_by = dagbag.dags["retrain_incremental"].timetable.asset_condition
    assert woken_by == dag.get_task("announce").outlets[0]


def test_a_broken_source_makes_the_run_red(dagbag):
    check = dagbag.dags["ingest_sessions"].get_task("check_sources")
    assert check.trigger_rule == "none_skipped"
    assert not check.downstream_task_ids


@pytest.mark.parametrize("name", ["retrain_incremental", "retrain_full", "train_federated"])
def test_nothing_is_released_unjudged(dagbag, name):
    dag = dagbag.dags[name]
    assert dag.get_task("release_candidate").upstream_task_ids == {"train_and_evaluate"}
    assert dag.get_task("train_and_evaluate").upstream_task_ids == {"plan_window"}


@pytest.mark.parametrize(
    "name", ["retrain_incremental", "retrain_full", "refresh_on_abandonment", "rollback_model"]
)
def test_services_hear_of_a_champion_only_at_the_end(dagbag, name):
    dag = dagbag.dags[name]
    assert [task.task_id for task in dag.tasks if task.outlets] == ["announce_champion"]
    assert not dag.get_task("announce_champion").downstream_task_ids
    assert {task.task_id for task in dag.leaves} - {"start_retrain_full", "finish_refresh"} == {
        *("announce_champion", "send_announcements")
    }


@pytest.mark.parametrize(
    ("name", "moves"),
    [
        *((name, "release_candidate") for name in RELEASING),
        ("rollback_model", "move_champion"),
        ("watch_releases", "watch"),
        ("analyze_experiments", "analyze"),
    ],
)
def test_webhooks_follow_each_task_that_moves_versions_and_hold_back_none(dagbag, name, moves):
    send = dagbag.dags[name].get_task("send_announcements")
    assert send.upstream_task_ids == {moves}
    assert not send.downstream_task_ids
    assert send.trigger_rule == "none_failed", "a failed move stays a failed run"
    assert (send.pool, send.retries) == ("ingest" if name == "analyze_experiments" else "default_pool", 2)


def test_bandits_learn_after_the_figures_and_train_nothing(dagbag):
    dag = dagbag.dags["update_bandit"]
    assert dag.timetable.asset_condition.name == "shop_metrics"
    assert [task.task_id for task in dag.tasks] == ["update_bandits"]


def test_an_emergency_waits_for_no_training(dagbag):
    assert {task.pool for task in dagbag.dags["rollback_model"].tasks} == {"default_pool"}


def test_drift_is_announced_before_a_training_starts_for_it(dagbag):
    dag = dagbag.dags["detect_drift"]
    assert dag.timetable.asset_condition == dagbag.dags["retrain_incremental"].timetable.asset_condition
    found = {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks if task.outlets}
    assert found == {"announce_drift": ["drift"]}
    assert dag.get_task("announce_drift").upstream_task_ids == {"measure_drift"}
    assert dag.get_task("decide_on_training").upstream_task_ids == {"measure_drift", "announce_drift"}
    start = dag.get_task("start_retrain_full")
    assert start.upstream_task_ids == {"decide_on_training"}
    assert start.trigger_dag_id in dagbag.dags
    # Tried again, or for a day ingested anew, it is the same run; and the run says why it runs.
    assert "partition_key" in start.trigger_run_id
    assert start.skip_when_already_exists
    assert "note" in start.template_fields


def test_a_second_refusal_starts_a_full_training_up_to_the_same_moment(dagbag):
    dag = dagbag.dags["retrain_incremental"]
    assert dag.get_task("fall_back").upstream_task_ids == {"plan_window", "release_candidate"}
    start = dag.get_task("start_retrain_full")
    assert start.upstream_task_ids == {"fall_back"}
    assert (start.trigger_dag_id, start.skip_when_already_exists) == ("retrain_full", True)
    assert "data_end" in start.conf["data_end"]
    assert "data_end" in dagbag.dags["retrain_full"].params


def test_each_table_is_maintained_by_a_task_of_its_own(dagbag):
    task = dagbag.dags["maintain_tables"].get_task("maintain_table")
    assert task.is_mapped
    assert task.upstream_task_ids == {"list_tables"}


def test_each_request_of_a_shopper_has_a_task_and_a_training_follows_an_erasure(dagbag):
    dag = dagbag.dags["erase_subjects"]
    done = dag.get_task("do_request")
    assert done.is_mapped
    assert done.upstream_task_ids == {"list_requests"}
    start = dag.get_task("start_retrain_full")
    assert start.upstream_task_ids == {"decide_on_training"}
    assert (start.trigger_dag_id, start.skip_when_already_exists) == ("retrain_full", True)
    assert dag.get_task("retire_versions").upstream_task_ids == {"sum_up"}


def test_each_announced_partition_is_learned_online(dagbag):
    announced = dagbag.dags["ingest_sessions"].get_task("announce").outlets[0]
    assert dagbag.dags["update_online"].timetable.asset_condition == announced


def test_without_a_topic_abandonments_start_their_refresh_once(dagbag):
    dag = dagbag.dags["detect_abandonment"]
    assert dag.timetable.asset_condition == dagbag.dags["retrain_incremental"].timetable.asset_condition
    start = dag.get_task("start_refresh")
    assert start.upstream_task_ids == {"detect_abandoned"}
    assert start.trigger_dag_id in dagbag.dags
    assert "bursts" in start.trigger_run_id and start.skip_when_already_exists
    assert "['bursts'][-1]" in start.trigger_run_id, "a burst after a killed run starts a refresh of its own"
    assert "noticed_at" in start.conf["noticed_at"], "the deadline counts from there"
    mark = dag.get_task("mark_notified")
    assert mark.upstream_task_ids == {"detect_abandoned", "start_refresh"}
    assert mark.trigger_rule == "none_failed", (
        "a repeated run finds the refresh started, and still records it"
    )


def test_abandonments_are_done_only_when_released(dagbag):
    dag = dagbag.dags["refresh_on_abandonment"]
    assert dag.get_task("train_and_evaluate").upstream_task_ids == {"plan_refresh"}
    assert dag.get_task("finish_refresh").upstream_task_ids == {"plan_refresh", "release_candidate"}
    assert dag.get_task("finish_refresh").trigger_rule == "all_success"


def test_a_refresh_waits_for_the_asset_that_is_watched_and_has_a_deadline(dagbag):
    dag = dagbag.dags["refresh_on_abandonment"]
    assert dag.timetable.asset_condition.objects[0].name == "abandoned_checkouts"
    assert [type(alert.reference).__name__ for alert in dag.deadline] == ["AbandonmentNoticed"]


def test_a_changed_catalogue_is_announced_and_a_broken_file_makes_the_run_red_at_the_end(dagbag):
    dag = dagbag.dags["ingest_catalogue"]
    assert dag.get_task("announce_items").upstream_task_ids == {"ingest_items"}
    assert [asset.name for asset in dag.get_task("announce_items").outlets] == ["items"]
    assert dag.get_task("check_sources").upstream_task_ids == {"ingest_items"}
    assert dag.schedule is None, "without LASTAISLE_CATALOGUE_CRON the DAG never runs by itself"


def test_exposures_and_events_hold_back_no_other(dagbag):
    dag = dagbag.dags["ingest_sessions"]
    of_exposures = {"plan_exposures", "ingest_exposures", "announce_exposures", "check_exposures"}
    first = dag.get_task("plan_exposures")
    assert {task.task_id for task in first.get_flat_relatives()} == of_exposures - {"plan_exposures"}
    for name in of_exposures:
        assert dag.get_task(name).get_flat_relative_ids(upstream=True) <= of_exposures


def test_exposures_that_were_taken_in_are_announced_and_a_broken_file_makes_the_run_red(dagbag):
    dag = dagbag.dags["ingest_sessions"]
    assert dag.get_task("ingest_exposures").is_mapped
    announce, check = dag.get_task("announce_exposures"), dag.get_task("check_exposures")
    assert announce.upstream_task_ids == {"ingest_exposures"}
    assert announce.trigger_rule == "all_done_min_one_success"
    assert check.upstream_task_ids == {"plan_exposures", "ingest_exposures"}
    assert check.trigger_rule == "none_skipped"
    assert not check.downstream_task_ids


def test_outcomes_are_attributed_after_events_and_after_exposures(dagbag):
    ingestion, dag = dagbag.dags["ingest_sessions"], dagbag.dags["attribute_outcomes"]
    announced = [ingestion.get_task(name).outlets[0] for name in ("announce", "announce_exposures")]
    woken_by = dag.timetable.asset_condition
    assert type(woken_by).__name__ == "AssetAny", "either asset alone starts a run"
    assert list(woken_by.objects) == announced


def test_experiments_are_analysed_after_the_figures_even_if_a_definition_was_refused(dagbag):
    dag = dagbag.dags["analyze_experiments"]
    assert dag.timetable.asset_condition.name == "shop_metrics"
    analyze = dag.get_task("analyze")
    assert analyze.upstream_task_ids == {"apply_definitions"}
    assert analyze.trigger_rule == "all_done"


def test_outcomes_are_counted_even_if_none_changed(dagbag):
    dag = dagbag.dags["attribute_outcomes"]
    count = dag.get_task("count_metrics")
    assert count.upstream_task_ids == {"attribute_outcomes"}
    assert count.trigger_rule == "none_failed", "a killed run may have left outcomes without figures"
    found = {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks}
    assert found == {"attribute_outcomes": ["outcomes"], "count_metrics": ["shop_metrics"]}


def test_releases_are_watched_after_each_change_of_the_figures(dagbag):
    figures, dag = dagbag.dags["attribute_outcomes"], dagbag.dags["watch_releases"]
    announced = figures.get_task("count_metrics").outlets
    assert announced == [dag.timetable.asset_condition]
    alarm = dag.get_task("raise_alarm")
    assert alarm.upstream_task_ids == {"watch", "announce_champion"}
    assert alarm.trigger_rule == "none_failed", "the alarm also comes without an announcement"


@pytest.mark.parametrize("name", RELEASING)
def test_with_approval_people_are_asked_between_evaluation_and_release(name, monkeypatch):
    monkeypatch.setenv("LASTAISLE_APPROVAL", "risky")
    monkeypatch.setenv("LASTAISLE_APPROVAL_HOURS", "5")
    path = Path(__file__).resolve().parents[2] / "dags" / f"{name}.py"
    dag = runpy.run_path(str(path), run_name=f"{name}_with_approval")[name]()
    ask = dag.get_task("ask_people")
    assert dag.get_task("assess_risks").upstream_task_ids == {"train_and_evaluate"}
    assert ask.upstream_task_ids == {"assess_risks"}
    assert {"ask_people", "assess_risks"} <= dag.get_task("release_candidate").upstream_task_ids
    assert ask.execution_timeout is None, "it would end the task before people answer"
    assert ask.response_timeout == timedelta(hours=5) < dag.dagrun_timeout
    assert (ask.options, ask.defaults) == (["Approve", "Reject"], ["Reject"])
