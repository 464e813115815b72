"""What Prometheus reads, what an OpenTelemetry collector gets, and what becomes of a part that is broken."""

import logging
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES_SCHEMA
from lastaisle.monitor.metrics import ingestion
from lastaisle.monitor.metrics.app import create_app
from lastaisle.monitor.metrics.exposition import render
from lastaisle.monitor.metrics.families import FAMILIES, LAKE_ROWS, UP, Family, Sample
from lastaisle.monitor.metrics.otlp import Sender
from lastaisle.monitor.metrics.parts import Measures, Part, groups_of
from lastaisle.monitor.metrics.serve import export_metrics
from lastaisle.settings import Settings, SettingsError
from lastaisle.web.keys import Keys
from tests.services.otlp import receiving


@pytest.fixture
def installation(tmp_path):
    """Settings with a lake of one batch; MLflow was never used."""
    settings = Settings.of(home=tmp_path)
    lake = Lake(settings.lake.url)
    row = {"source": "clicks", "rows_clean": 5, "finished_at": datetime.now(UTC)}
    lake.append("batches", pa.Table.from_pylist([row], schema=BATCHES_SCHEMA), key="one")
    return settings, lake


def measured(settings, lake):
    measures = Measures(groups_of(lake, settings), 15)
    measures.refresh()
    return measures


def up(measures):
    return {sample.labels[0]: sample.value for sample in measures.samples() if sample.family is UP}


def test_prometheus_reads_every_metric_with_its_meaning(installation):
    text = render(measured(*installation).samples()).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for family in FAMILIES:
        read = families[family.name.removesuffix("_total")]
        assert (read.type, read.documentation) == (family.kind, family.help)
        assert all(set(sample.labels) == set(family.labels) for sample in read.samples)
    (clean,) = [
        sample.value
        for sample in families["lastaisle_ingest_rows"].samples
        if sample.labels["outcome"] == "clean"
    ]
    assert clean == 5


def test_a_look_reads_no_table_that_has_not_changed(installation, monkeypatch):
    settings, lake = installation
    reads = []
    monkeypatch.setattr(ingestion, "read_ingestion", lambda lake: reads.append(lake) or [])
    measures = measured(settings, lake)
    measures.refresh()
    assert len(reads) == 1
    row = pa.Table.from_pylist(
        [{"source": "clicks", "finished_at": datetime.now(UTC)}], schema=BATCHES_SCHEMA
    )
    lake.append("batches", row, key="two")
    measures.refresh()
    assert len(reads) == 2


def test_a_table_that_cannot_be_read_is_told_and_all_others_go_on(installation, caplog):
    settings, lake = installation
    before = up(measured(settings, lake))
    assert set(before.values()) == {1}
    last, *_ = sorted((settings.home / "lake" / "batches" / "_delta_log").glob("*.json"), reverse=True)
    last.write_text("{damaged")
    with caplog.at_level(logging.ERROR):
        measures = measured(settings, lake)
        measures.refresh()
    down = {part for part, works in up(measures).items() if not works}
    assert down == {"ingestion", "table batches"}
    assert sum("the metrics of ingestion cannot be read" in line for line in caplog.messages) == 1
    assert not any(sample.family is LAKE_ROWS for sample in measures.samples())


def test_a_part_that_can_be_read_again_is_up_again():
    answers = [RuntimeError("away"), [Sample(LAKE_ROWS, 3, ("events",))]]

    def read():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    part = Part("table events", lambda: 7, read)
    part.refresh()
    assert [sample.value for sample in part.samples() if sample.family is UP] == [0]
    part.refresh()
    assert [sample.value for sample in part.samples() if sample.family in (UP, LAKE_ROWS)] == [3, 1]


def test_the_error_of_a_part_shows_no_password(caplog):
    def read():
        raise OSError("cannot reach postgresql://mlflow:secret@db/mlflow")

    Part("mlflow", lambda: None, read).refresh()
    assert "***@db" in caplog.text
    assert "secret" not in caplog.text


def test_mlflow_that_was_never_used_is_not_created(installation):
    settings, lake = installation
    assert up(measured(settings, lake))["mlflow"] == 1
    assert not (settings.home / "mlflow").exists()


def test_a_sample_has_the_labels_of_its_metric():
    with pytest.raises(ValueError, match="has the labels"):
        Sample(Family("lastaisle_x", "", ("a", "b")), 1, ("only one",))


def test_only_callers_with_a_key_read_the_metrics():
    client = TestClient(create_app(lambda: [Sample(LAKE_ROWS, 3, ("events",))], Keys(["right"])))
    assert client.get("/healthz").text == "ok"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": ""}):
        refused = client.get("/metrics", headers=headers)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert "lake_rows" not in refused.text
    for headers in ({"Authorization": "Bearer right"}, {"X-API-Key": "right"}):
        read = client.get("/metrics", headers=headers)
        assert read.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'lastaisle_lake_rows{table="events"} 3.0' in read.text.splitlines()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:4318", "http://me:secret@collector:4318", "http://collector/?key=secret", "http://"],
)
def test_the_address_of_a_collector_holds_no_secret(address):
    with pytest.raises(SettingsError, match="LASTAISLE_OTLP should be") as refused:
        Settings.of(otlp=address)
    assert "http://127.0.0.1:4318" in str(refused.value)


def test_without_a_key_the_command_says_which_variables_to_set(tmp_path):
    with pytest.raises(SettingsError, match=r"LASTAISLE_METRICS_KEYS .* LASTAISLE_METRICS_KEY_FILE"):
        export_metrics(Settings.of(home=tmp_path), "127.0.0.1", 0, print)


def test_an_opentelemetry_collector_gets_what_prometheus_reads(installation):
    measures = measured(*installation)
    with receiving() as (address, received):
        url = Settings.of(otlp=f"{address}/").metrics.metrics_url
        sender = Sender(measures.samples, url, 3600)
        assert sender.send()
        sender.stop()
    path, request = received[0]
    assert path == "/v1/metrics"
    (resource,) = request.resource_metrics
    name = {entry.key: entry.value.string_value for entry in resource.resource.attributes}["service.name"]
    assert name == "lastaisle"
    sent = {}
    for metric in resource.scope_metrics[0].metrics:
        points = metric.sum.data_points if metric.HasField("sum") else metric.gauge.data_points
        assert metric.HasField("sum") == metric.name.endswith("_total")
        for point in points:
            labels = tuple(sorted((entry.key, entry.value.string_value) for entry in point.attributes))
            sent[metric.name, labels] = point.as_double or point.as_int
    read = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render(measures.samples()).decode())
        for sample in family.samples
    }
    assert sent == read
