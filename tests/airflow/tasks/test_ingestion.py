"""The tasks of `ingest_sessions`: summaries, announcements, and the check at the end."""

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.errors import SourceError
from lastaisle_airflow.tasks import announcements, ingestion
from tests.airflow.runs import DagRun


@pytest.mark.parametrize(
    "wrap", [lambda report: report, lambda report: [report], lambda report: [None, report]]
)
def test_one_report_counts_alone_and_in_a_list(wrap):
    report = {"batches": ["b"], "rows": 5, "hours": ["2025-10-09T01", "2025-10-08T23"]}
    assert announcements.summarize(wrap(report)) == {
        "chains": 1,
        "batches": ["b"],
        "rows": 5,
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
