"""The tasks of `maintain_tables`, without a scheduler."""

import pyarrow as pa
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lastaisle.lake import Lake
from lastaisle_airflow.tasks import maintenance
from tests.registry.test_ledger import rewrite, written


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_LAKE", str(tmp_path / "lake"))
    return Lake(tmp_path / "lake")


def test_without_tables_there_is_nothing_to_maintain(lake):
    with pytest.raises(AirflowSkipException, match="no tables yet"):
        maintenance.list_tables.function()


def test_a_table_is_maintained_by_the_settings(lake, monkeypatch):
    for number in range(6):
        lake.append("batches", pa.table({"batch_id": [str(number)]}), key=str(number))
    assert maintenance.list_tables.function() == ["batches"]
    assert maintenance.maintain("batches", dry_run=True)["files_after"] == 6
    monkeypatch.setenv("LASTAISLE_KEEP_VERSIONS_DAYS", "60")
    assert maintenance.maintain("batches", dry_run=False)["files_after"] == 1
    configuration = lake.table("batches").metadata().configuration
    assert configuration == {"delta.logRetentionDuration": "interval 60 days"}


def test_the_ledger_is_verified_and_a_changed_row_fails_the_task(lake):
    with pytest.raises(AirflowSkipException, match="no rows yet"):
        maintenance.verify_ledger.function()
    ledger = written(lake.url, "1", "2")
    assert maintenance.verify_ledger.function() == {"entries": 2, "end": ledger.check().end}
    rewrite(ledger, ledger.rows()[:1])
    with pytest.raises(AirflowFailException, match="the rows after entry 0 were removed"):
        maintenance.verify_ledger.function()
