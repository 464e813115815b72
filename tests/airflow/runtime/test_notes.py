"""The sentence that a task leaves, and the note of a run that the scheduler makes from the sentences."""

import logging

import pytest

from lastaisle_airflow.runtime import note_of_run, notes
from lastaisle_airflow.runtime.note_of_run import TaskNote, note_with, outcome_of
from lastaisle_airflow.runtime.notes import FAILED, RESULT, SKIPPED


class TaskInstance:
    dag_id = run_id = task_id = "x"

    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


@pytest.fixture
def running(monkeypatch):
    """The task instance that runs."""
    task_instance = TaskInstance()
    monkeypatch.setattr(notes, "get_current_context", lambda: {"ti": task_instance})
    return task_instance


def test_a_result_is_logged_and_stored(running, caplog):
    with caplog.at_level(logging.INFO):
        notes.note("v8 refused: recall@20 0.190 against 0.670", warn=True, link="http://m/#/runs/1")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("WARNING", "v8 refused: recall@20 0.190 against 0.670")
    assert running.pushed[RESULT] == {"sentence": record.getMessage(), "link": "http://m/#/runs/1"}


def test_outside_of_a_task_a_result_is_only_logged(caplog):
    with caplog.at_level(logging.INFO):
        notes.note("5 rows clean, 0 quarantined")
    assert caplog.messages == ["5 rows clean, 0 quarantined"]
    assert str(notes.skipped("no messages wait")) == "no messages wait"


def test_the_reason_of_a_skip_and_of_a_failure_are_stored(running, monkeypatch):
    monkeypatch.setattr(notes, "trained_page", lambda task_instance: "")
    with pytest.raises(Exception, match="no messages wait"):
        raise notes.skipped("no messages wait")
    notes.note_failure({"ti": running, "exception": ValueError("kafka://u:secret@shop/clicks\nis away.")})
    notes.note_failure({"ti": running, "exception": None} | {"exception": KeyError()})
    assert running.pushed[SKIPPED]["sentence"] == "no messages wait"
    assert running.pushed[FAILED]["sentence"] == "KeyError"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("kafka://u:secret@shop/clicks\nis away.", "kafka://u:***@shop/clicks is away"),
        ("a\x00b", r"a\x00b"),  # PostgreSQL refuses the character
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_a_sentence_is_one_short_line_without_passwords(text, shown):
    assert notes.shortened(text) == shown


CLEAN = TaskNote("check_sources", RESULT, "12 rows clean, 0 quarantined")


@pytest.mark.parametrize(
    ("told", "failed", "outcome"),
    [
        ([CLEAN, TaskNote("plan_exposures", SKIPPED, "no exposures wait")], False, CLEAN.sentence),
        ([TaskNote("plan", SKIPPED, "no messages wait")] * 2, False, "no messages wait"),
        ([CLEAN, TaskNote("check_sources", FAILED, "1 of 2 sources")], True, CLEAN.sentence),
        (
            [CLEAN, TaskNote("send", FAILED, "shop did not answer"), TaskNote("last", FAILED, "so no")],
            True,
            "12 rows clean, 0 quarantined; send failed: shop did not answer",
        ),
        (
            [TaskNote("ingest", FAILED, "no JSON"), CLEAN, TaskNote("check_sources", FAILED, "1 of 2")],
            True,
            "12 rows clean, 0 quarantined; ingest failed: no JSON",
        ),
        (
            [TaskNote("plan", RESULT, "no logs"), TaskNote("plan", FAILED, "x"), TaskNote("b", FAILED, "y")],
            True,
            "no logs",
        ),
        ([TaskNote("send", FAILED, "shop did not answer")], False, ""),  # people marked the run as a success
        ([CLEAN, CLEAN], False, CLEAN.sentence),
        ([], False, ""),
        ([], True, "failed: the log of the failed task says why"),
        (
            [TaskNote("release", RESULT, "v7 promoted", "http://m/1")],
            False,
            "v7 promoted ([MLflow run](http://m/1))",
        ),
    ],
)
def test_the_outcome_tells_results_before_failures_before_skips(told, failed, outcome):
    assert outcome_of(told, failed=failed) == outcome


def test_a_run_that_its_time_limit_stopped_says_so():
    outcome = outcome_of([CLEAN], failed=True, cause="stopped by its time limit")
    assert outcome == "12 rows clean, 0 quarantined; stopped by its time limit"


def test_the_note_keeps_what_the_trigger_said_and_a_second_end_replaces_the_first():
    first = note_with("v8 refused", "prices rose", ours=False)
    assert first == "v8 refused\n\nprices rose"
    assert note_with("v9 promoted", first, ours=True) == "v9 promoted\n\nprices rose"
    assert note_with("v9 promoted", "I look into it", ours=False) == "v9 promoted\n\nI look into it"
    assert note_with("v9 promoted", None, ours=False) == "v9 promoted"
    assert len(note_with("x" * 500, "y" * 900, ours=False)) == note_of_run.LONGEST
