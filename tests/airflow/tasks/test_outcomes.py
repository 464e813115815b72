"""The tasks of `attribute_outcomes`, without a scheduler."""

import os
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.lake import Lake
from lastaisle.lake.tables import OUTCOMES, SHOP_METRICS
from lastaisle.privacy.domains import key_of_lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.settings import Settings
from lastaisle_airflow.runtime import assets
from lastaisle_airflow.tasks import exposure_chains, outcomes
from tests.airflow.scheduler.feedback import feedback_lines, land_feedback


def test_the_days_to_compute_anew_are_read_from_the_parameters():
    assert outcomes.days_of({"days": None}) is None
    assert outcomes.days_of({"days": []}) is None
    assert outcomes.days_of({"days": ["2025-10-09"]}) == [date(2025, 10, 9)]


def test_only_a_change_is_announced_except_by_a_task_that_is_tried_again():
    changed = {"changed_days": ["2025-10-09"]}
    assert outcomes.announced_days(changed, "outcome", 1) == {"days": ["2025-10-09"]}
    with pytest.raises(AirflowSkipException, match="no outcome changed"):
        outcomes.announced_days({"changed_days": []}, "outcome", 1)
    assert outcomes.announced_days({"changed_days": []}, "outcome", 2) == {"days": []}


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("LASTAISLE_GX_SAMPLE_ROWS", "0")
    return tmp_path


def run(task, asset, days=None, try_number=1):
    """Run a task; return the days that it announces."""
    events = {asset: SimpleNamespace(extra=None)}
    given = {"params": {"days": days}, "ti": SimpleNamespace(try_number=try_number), "outlet_events": events}
    task.function(**given)
    return events[asset].extra["days"]


def attribute(**given):
    return run(outcomes.attribute_outcomes, assets.OUTCOMES, **given)


def count(**given):
    return run(outcomes.count_metrics, assets.SHOP_METRICS, **given)


def test_without_exposures_both_tasks_are_skipped_and_make_no_table(shop):
    for task in (attribute, count):
        with pytest.raises(AirflowSkipException):
            task()
    assert Lake(shop / "lake").versions([OUTCOMES, SHOP_METRICS]) == {}


def test_the_days_with_new_exposures_are_announced_once(shop):
    settings = Settings.from_env()
    key = key_of_lake(Lake(shop / "lake"), PseudonymKeys.load_or_create(settings.privacy.key_file), None)
    begin = datetime(2025, 10, 9, 10, tzinfo=UTC)
    os.utime(land_feedback(shop, begin, feedback_lines("visit", begin, key, 3)), (1, 1))
    for chain in exposure_chains.plan_all(settings).chains:
        exposure_chains.ingest_chain(chain)
    assert attribute() == count() == ["2025-10-09"]
    for task in (attribute, count):
        with pytest.raises(AirflowSkipException, match="changed"):
            task()
        with pytest.raises(AirflowSkipException, match="changed"):
            task(days=["2025-10-09"])
        assert task(try_number=2) == []
