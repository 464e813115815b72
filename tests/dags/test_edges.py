"""The few edges whose loss would do harm."""

import pytest


def test_raw_rows_are_validated_before_they_are_anonymized(dagbag):
    dag = dagbag.dags["ingest_sessions"]
    assert dag.get_task("take_in.anonymize_batch").upstream_task_ids == {"take_in.ingest_file"}


def test_events_are_announced_after_all_files_even_if_one_broke(dagbag):
    announce = dagbag.dags["ingest_sessions"].get_task("announce")
    assert announce.upstream_task_ids == {"take_in.anonymize_batch"}
    assert announce.trigger_rule == "all_done_min_one_success"
    assert [asset.name for asset in announce.outlets] == ["events"]


def test_only_announce_wakes_the_training(dagbag):
    dag = dagbag.dags["ingest_sessions"]
    assert [task.task_id for task in dag.tasks if task.outlets] == ["announce"]
    assert dagbag.dags["retrain_incremental"].timetable.asset_condition == dag.get_task("announce").outlets[0]


def test_a_broken_file_makes_the_run_red(dagbag):
    dag = dagbag.dags["ingest_sessions"]
    assert [task.task_id for task in dag.leaves] == ["check_files"]


@pytest.mark.parametrize("name", ["retrain_incremental", "retrain_full"])
def test_nothing_is_released_unjudged(dagbag, name):
    dag = dagbag.dags[name]
    assert dag.get_task("release_candidate").upstream_task_ids == {"evaluate_candidate"}
    assert dag.get_task("evaluate_candidate").upstream_task_ids == {"train_candidate"}
    assert dag.get_task("train_candidate").upstream_task_ids == {"plan_window"}


@pytest.mark.parametrize("name", ["retrain_incremental", "retrain_full", "rollback_model"])
def test_services_hear_of_a_champion_only_at_the_end(dagbag, name):
    dag = dagbag.dags[name]
    assert [task.task_id for task in dag.tasks if task.outlets] == ["announce_champion"]
    assert [task.task_id for task in dag.leaves] == ["announce_champion"]


def test_an_emergency_waits_for_no_training(dagbag):
    assert {task.pool for task in dagbag.dags["rollback_model"].tasks} == {"default_pool"}


def test_each_table_is_maintained_by_a_task_of_its_own(dagbag):
    task = dagbag.dags["maintain_tables"].get_task("maintain_table")
    assert task.is_mapped
    assert task.upstream_task_ids == {"list_tables"}
