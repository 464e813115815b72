"""The names of datasets, and the files of events."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pyarrow as pa
import pytest
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import Dataset, Job, Run, RunEvent, RunState
from openlineage.client.naming.dataset import ABFSS, GCS, S3, Kafka, LocalFileSystem

from lastaisle.lake import Lake
from lastaisle.settings import Settings
from lastaisle_airflow.local.environment import TRANSPORT, environment
from lastaisle_airflow.runtime import lineage
from lastaisle_airflow.runtime.lineage import Flow


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("/logs/2025-10-09/a b?.jsonl", LocalFileSystem("/logs/2025-10-09/a b?.jsonl")),
        ("file:///logs/a.jsonl", LocalFileSystem("/logs/a.jsonl")),
        ("s3://shop/logs/a.jsonl", S3("shop", "logs/a.jsonl")),
        ("s3://connection@shop/logs/a.jsonl?token=abc", S3("shop", "logs/a.jsonl")),
        ("s3a://shop/logs", S3("shop", "logs")),
        ("gcs://connection@shop/logs/a", GCS("shop", "logs/a")),
        ("abfss://logs@shop.dfs.core.windows.net/a", ABFSS("logs", "shop", "a")),
    ],
)
def test_a_file_is_named_as_the_specification_says(address, named):
    data = lineage.file(address)
    assert (data.namespace, data.name) == (named.get_namespace(), named.get_name())


@pytest.mark.parametrize(
    ("address", "namespace", "name"),
    [
        ("https://anna:secret@shop.example/logs/a.gz?sig=abc#x", "https://shop.example", "/logs/a.gz"),
        ("abfss://anna:secret@shop.example/a", "abfss://shop.example", "a"),
    ],
)
def test_a_name_holds_neither_credentials_nor_a_query(address, namespace, name):
    assert lineage.file(address)[:2] == (namespace, name)


@pytest.mark.parametrize("servers", ["broker:9092,other:9092", "SASL_SSL://broker:9092"])
def test_a_topic_is_named_by_its_first_broker(servers):
    named = Kafka("broker", "9092", "clicks")
    assert lineage.topic(servers, "clicks")[:2] == (named.get_namespace(), named.get_name())


def test_a_table_is_named_by_its_place_with_the_version_that_was_read(tmp_path):
    lake = Lake(tmp_path / "lake")
    lake.append("gaps", pa.table({"n": [1]}), key="one")
    version = lake.version("gaps")
    place = ("file", str(tmp_path / "lake" / "gaps"))
    assert lineage.tables(lake, "gaps", "outcomes") == [(*place, str(version), "delta")]
    assert lineage.tables(lake, "gaps", versions={"gaps": 7}) == [(*place, "7", "delta")]


def test_runs_versions_and_aliases_are_named_by_the_address_of_mlflow():
    settings = Settings.of(mlflow_ui="https://anna:secret@mlflow.shop.example/x")
    data = [
        lineage.run(settings, "r1"),
        lineage.version(settings, "8"),
        lineage.alias(settings, "champion", "8"),
    ]
    assert {one.namespace for one in data} == {"mlflow://mlflow.shop.example"}
    model = "models/checkout-recommender"
    assert [one.name for one in data] == ["runs/r1", f"{model}/versions/8", f"{model}/aliases/champion"]


def test_nothing_is_described_where_nobody_listens(monkeypatch):
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__DISABLED", "True")

    def flow():
        raise AssertionError("the lake must not be asked")

    lineage.tell(flow)


def test_an_error_costs_the_task_a_warning_and_no_more(monkeypatch, caplog):
    monkeypatch.setattr("airflow.providers.openlineage.api.is_openlineage_active", lambda: True)

    def flow():
        raise OSError("the disk is gone")

    lineage.tell(flow)
    assert "the lineage of this task is not told: the disk is gone" in caplog.text


def event(number):
    return RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(str(uuid4())),
        job=Job("lastaisle", f"dag.task{number}"),
        inputs=[],
        outputs=[Dataset("file", "/lake/events")],
        producer="https://lastaisle.example",
    )


def test_events_are_lines_of_the_file_of_the_day_and_old_days_are_forgotten(tmp_path):
    folder = tmp_path / "lineage"
    folder.mkdir()
    today = datetime.now(UTC).date()
    old, kept = (folder / f"{today - timedelta(days=days)}.jsonl" for days in (4, 3))
    for file in (old, kept, folder / "mine.jsonl"):
        file.touch()
    transport = {"type": TRANSPORT, "folder": str(folder), "keep_days": 3}
    client = OpenLineageClient(config={"transport": transport})
    for number in range(3):
        client.emit(event(number))
    file = folder / f"{today}.jsonl"
    written = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [one["job"]["name"] for one in written] == ["dag.task0", "dag.task1", "dag.task2"]
    assert written[0]["outputs"][0]["name"] == "/lake/events"
    assert file.stat().st_mode & 0o777 == 0o600
    assert not old.exists()
    assert kept.exists()
    assert (folder / "mine.jsonl").exists()


def test_the_home_keeps_the_lineage_unless_people_send_it_elsewhere(tmp_path, monkeypatch):
    settings = Settings.of(home=tmp_path)
    kept = json.loads(environment(settings)["AIRFLOW__OPENLINEAGE__TRANSPORT"])
    assert kept == {"type": TRANSPORT, "folder": str(tmp_path / "lineage")}
    monkeypatch.setenv("OPENLINEAGE_URL", "https://marquez.shop.example")
    assert "AIRFLOW__OPENLINEAGE__TRANSPORT" not in environment(settings)


def test_a_flow_becomes_datasets_with_version_and_format():
    flow = Flow([lineage.Data("file", "/lake/events", "7", "delta")], [lineage.Data("mlflow://m", "runs/r1")])
    (table,), (run,) = lineage._datasets(flow.read), lineage._datasets(flow.wrote)
    assert table.facets["version"].datasetVersion == "7"
    assert table.facets["storage"].storageLayer == "delta"
    assert not run.facets
