"""The task that releases: which runs may release an older candidate, and which errors a retry cannot mend."""

import pytest
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.evaluation.judging import LearnedHoursError
from lastaisle.release.release import OlderTrainingError, RolledBackError
from lastaisle_airflow.tasks import release, training


class DagRun:
    dag_id, run_id = "retrain_full", "manual__1"


@pytest.mark.parametrize(
    ("params", "older"),
    [
        ({}, False),  # retrain_incremental and refresh_on_abandonment have no parameters
        ({"allow_older": False, "data_end": None}, True),  # it learned up to the newest event
        ({"allow_older": False, "data_end": "2025-10-07T00:00:00"}, False),
        ({"allow_older": True, "data_end": "2025-10-07T00:00:00"}, True),
    ],
)
def test_only_a_full_training_up_to_the_newest_event_or_by_order_may_be_older(params, older):
    assert release.may_be_older(params) is older


@pytest.mark.parametrize("error", [RolledBackError, OlderTrainingError, LearnedHoursError])
def test_a_release_that_was_overtaken_fails_without_a_retry(error, monkeypatch, tmp_path):
    def overtaken(*_, **__):
        raise error("the champion has moved on")

    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setattr("lastaisle.evaluation.evaluate.evaluate_candidate", lambda *_: None)
    monkeypatch.setattr("lastaisle.release.release.release_candidate", overtaken)
    with pytest.raises(AirflowFailException, match="the champion has moved on"):
        release.release_candidate.function("r1", params={}, dag_run=DagRun())


def test_the_plan_of_a_full_training_takes_no_notice_of_the_release(monkeypatch):
    given = {}
    monkeypatch.setattr(training, "plan", lambda kind, **params: given.update(params, kind=kind))
    training.plan_full_window.function(params={"allow_older": True, "epochs": 3})
    assert given == {"kind": "full", "epochs": 3}
