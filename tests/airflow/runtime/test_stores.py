"""Sources and lake in an object store that only an Airflow connection can reach."""

import json

import pytest

from lastaisle.errors import SourceError
from lastaisle.ingest.run import ingest
from lastaisle.lake.opening import open_lake as open_plain_lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.settings import Settings, SettingsError
from lastaisle_airflow.runtime.stores import open_lake, source_options

SECRETS = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ALLOW_HTTP")
EVENT = {
    "event_id": "e1",
    "event_type": "item_viewed",
    "occurred_at": "2025-10-09T12:00:00Z",
    "session_id": "s1",
    "item_id": "i1",
}


def test_logs_and_lake_are_reached_through_an_airflow_connection(s3, tmp_path, monkeypatch):
    pytest.importorskip("airflow.providers.amazon")
    s3.pipe("shop/logs/2025-10-09/a.jsonl", json.dumps(EVENT).encode())
    variables = {name: value for name in SECRETS if (value := monkeypatch.delenv(name) or "known")}
    assert set(variables) == set(SECRETS)  # only the connection has the credentials
    extra = {"endpoint_url": s3.endpoint, "region_name": "us-east-1"}
    conn = {"conn_type": "aws", "login": "nobody", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_STORE", json.dumps(conn))
    settings = Settings.of(home=tmp_path, lake="s3://shop_store@shop/lake")
    lake = open_lake(settings)
    assert lake.url == "s3://shop/lake"
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", lake_url=lake.url)
    source, options = source_options("s3://shop_store@shop/logs/2025-10-09")
    assert source == "s3://shop/logs/2025-10-09"
    report = ingest(source, "canonical", lake, keys, source_options=options)
    assert report.rows_clean == 1
    assert open_lake(settings).scan("events").num_rows == 1


def test_an_address_without_a_connection_is_left_to_the_environment(tmp_path):
    assert source_options("s3://shop/logs") == ("s3://shop/logs", {})
    assert source_options("/var/log/shop@home") == ("/var/log/shop@home", {})
    settings = Settings.of(home=tmp_path, lake="s3://shop/lake", lake_options='{"AWS_REGION": "eu-west-1"}')
    assert open_lake(settings).storage_options == {"AWS_REGION": "eu-west-1"}
    assert "eu-west-1" not in repr(settings)


def test_the_lake_options_of_the_settings_override_the_connection(tmp_path, monkeypatch):
    pytest.importorskip("airflow.providers.amazon")
    conn = {"conn_type": "aws", "login": "a", "password": "b", "extra": {"region_name": "us-east-1"}}
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(conn))
    settings = Settings.of(home=tmp_path, lake="s3://store@shop", lake_options='{"AWS_REGION": "eu-west-1"}')
    assert open_lake(settings).storage_options == {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "eu-west-1",
    }


@pytest.mark.parametrize("options", ["{", "[]", '{"AWS_ALLOW_HTTP": true}'])
def test_lake_options_that_are_none_are_refused_without_being_shown(tmp_path, options):
    with pytest.raises(SettingsError, match="LASTAISLE_LAKE_OPTIONS") as refused:
        open_plain_lake(Settings.of(home=tmp_path, lake_options=options))
    assert options not in str(refused.value)


def test_a_google_connection_gives_its_key(tmp_path, monkeypatch):
    extra = {"extra__google_cloud_platform__keyfile_dict": json.dumps({"type": "service_account"})}
    monkeypatch.setenv(
        "AIRFLOW_CONN_G",
        json.dumps({"conn_type": "google_cloud_platform", "extra": extra | {"project": "p"}}),
    )
    assert source_options("gs://g@shop/logs") == (
        "gs://shop/logs",
        {"token": {"type": "service_account"}, "project": "p"},
    )
    lake = open_lake(Settings.of(home=tmp_path, lake="gs://g@shop/lake"))
    assert lake.storage_options == {"google_service_account_key": '{"type": "service_account"}'}


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_the_error_names_a_missing_connection(scheme):
    with pytest.raises(SourceError, match="nowhere"):
        source_options(f"{scheme}://nowhere@shop/logs")
