"""The tasks of `attribute_outcomes`, without a scheduler."""

from datetime import date

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle_airflow.tasks import outcomes


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
