"""The tasks of `ingest_sessions`: summaries, announcements, and the check at the end."""

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.errors import SourceError
from lastaisle.ingest.report import BatchReport
from lastaisle.ingest.summary import describe_rows, row_counts
from lastaisle_airflow.tasks import announcements, ingestion
from tests.airflow.runs import DagRun


@pytest.mark.parametrize(
    "wrap", [lambda report: report, lambda report: [report], lambda report: [None, report]]
)
def test_one_report_counts_alone_and_in_a_list(wrap):
    counts = row_counts(BatchReport("b", "a.jsonl", "canonical", rows_in=5, rows_clean=5))
    hours = ["2025-10-09T01", "2025-10-08T23"]
    report = {"batches": ["b"], "rows": 5, "counts": counts, "hours": hours}
    assert announcements.summarize(wrap(report)) == {
        "chains": 1,
        "batches": ["b"],
        "rows": 5,
        "counts": counts,
        "hours": ["2025-10-08T23", "2025-10-09T01"],
    }


def test_failed_sources_and_lost_messages_fail_the_run():
    ingestion.check_all_taken_in(["a", "b"], {"chains": 2}, [])
    with pytest.raises(SourceError, match="1 of 2 sources were not taken in"):
        ingestion.check_all_taken_in(["a", "b"], [{"chains": 1}], [])
    with pytest.raises(SourceError, match="2 of 2 sources"):
        ingestion.check_all_taken_in(["a", "b"], None, [])
    with pytest.raises(SourceError, match="could be planned"):
        ingestion.check_all_taken_in(None, None, [])
    with pytest.raises(SourceError, match="lost upstream, see the table gaps: clicks/0: offsets 3 to 5"):
        ingestion.check_all_taken_in(["a"], {"chains": 1}, ["clicks/0: offsets 3 to 5"])
    with pytest.raises(SourceError, match="left out: /logs/x/: cannot list this folder"):
        ingestion.check_all_taken_in(["a"], {"chains": 1}, [], {"/logs/x/": "cannot list this folder"})


class Planned:
    """The task instance of `check_sources`, with what `plan_batches` left."""

    def __init__(self, **left):
        self.left = left

    def xcom_pull(self, task_ids, key):
        return self.left.get(key)


def test_a_day_without_logs_is_red_although_late_files_came(monkeypatch):
    summary = announcements.summarize([])
    planned = Planned(missing="nothing to read at /logs/2025-10-09")
    given = {"dag_run": DagRun(), "ti": planned}
    with pytest.raises(SourceError, match=r"2025-10-09.*LASTAISLE_MISSING_LOGS=skip"):
        ingestion.check_sources.function([], summary, **given)
    monkeypatch.setenv("LASTAISLE_MISSING_LOGS", "skip")
    ingestion.check_sources.function([], summary, **given)


def test_the_announcement_has_the_numbers_of_the_note(caplog, monkeypatch):
    monkeypatch.setenv("LASTAISLE_PARTITION", "day")
    counts = row_counts(BatchReport("b", "a.jsonl", "canonical", rows_in=7, rows_clean=5, rows_quarantined=2))
    summary = announcements.summarize([{"batches": ["b"], "rows": 5, "counts": counts, "hours": []}])
    extra = announcements.announcement(summary, DagRun())
    assert (extra["rows_clean"], extra["rows_quarantined"], extra["rows"]) == (5, 2, 5)
    with caplog.at_level("INFO"):
        ingestion.check_sources.function(["a"], summary, dag_run=DagRun(), ti=Planned())
    assert caplog.messages[-1] == extra["words"] == "5 rows clean, 2 quarantined"
    older = {name: value for name, value in summary.items() if name != "counts"}
    assert "words" not in announcements.announcement(older, DagRun())


def test_the_log_says_what_became_of_all_rows_and_files():
    first = BatchReport(
        *("a", "a.jsonl", "segment"),
        rows_in=1300,
        rows_clean=1200,
        rows_quarantined=60,
        rows_duplicate=7,
        rows_ignored=33,
        quarantined_by_rule={"not_json": 4, "price_in_range": 56},
        ignored_by_reason={"call identify": 33},
        warnings_by_rule={"country_is_known": 3},
    )
    second = BatchReport(
        "b", "b.jsonl", "segment", rows_in=1, rows_ignored=1, ignored_by_reason={"call group": 1}
    )
    reports = [
        {"batches": [], "rows": 0, "hours": [], "counts": row_counts(each)} for each in (first, second)
    ]
    summary = announcements.summarize(reports)
    lines = ingestion.describe_run(
        ["a", "b", "c"],
        [None, summary],
        {"/logs/x/": "cannot list this folder"},
        {"it is empty": 2, "hidden": 1},
    )
    assert lines == [
        "2 of 3 sources were taken in:",
        "rows in      1,301",
        "clean        1,200  warnings: country_is_known 3",
        "quarantined     60  price_in_range 56, not_json 4",
        "duplicate        7",
        "ignored         34  call identify 33, call group 1",
        "late (clean)     0",
        "passed over  it is empty 2, hidden 1",
        "left out     /logs/x/: cannot list this folder",
    ]


def test_the_log_of_a_run_that_took_nothing_in_and_of_many_rules_stays_short():
    assert ingestion.describe_run(["a"], None, {}, {})[:2] == [
        "0 of 1 sources were taken in:",
        "rows in      0",
    ]
    rules = {f"rule_{number:02}": 1 for number in range(12)}
    report = BatchReport(
        "b", "a.jsonl", "canonical", rows_in=12, rows_quarantined=12, quarantined_by_rule=rules
    )
    (line,) = [line for line in describe_rows(row_counts(report)) if line.startswith("quarantined")]
    assert line.endswith("rule_09 1, and 2 more")


def test_only_hours_of_earlier_partitions_are_late(monkeypatch):
    monkeypatch.setenv("LASTAISLE_PARTITION", "day")
    run = DagRun()
    summary = {"chains": 1, "batches": ["b"], "rows": 3, "hours": ["2025-10-08T23", "2025-10-09T01"]}
    assert announcements.announcement(summary, run)["partitions"] == ["2025-10-09"]
    assert announcements.late_announcement([summary], run) == {
        "partitions": ["2025-10-08"],
        "hours": ["2025-10-08T23"],
    }
    with pytest.raises(AirflowSkipException):
        announcements.late_announcement(summary | {"hours": ["2025-10-09T01"]}, run)
