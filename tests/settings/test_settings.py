"""Settings: read by name, refused by name, with nothing said about a secret."""

import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from lastaisle.settings import Settings, SettingsError
from lastaisle.settings.fields import is_secret
from lastaisle.settings.others import OTHER_VARIABLES
from lastaisle.settings.settings import known_variables

ROOT = Path(__file__).parents[2]


def test_variables_fill_their_section_and_empty_ones_leave_the_default(tmp_path):
    environ = {
        "LASTAISLE_HOME": str(tmp_path),
        "LASTAISLE_WINDOW_HOURS": " 24.5 ",
        "LASTAISLE_SHARDS": "4",
        "LASTAISLE_DRIFT_COOLDOWN_HOURS": "",
        "PATH": "/bin",
    }
    settings = Settings.from_env(environ)
    assert settings.learning.window_hours == 24.5
    assert settings.ingest.shards == 4
    assert settings.drift.cooldown_hours == 72
    assert settings.lake.url == str(tmp_path / "lake")
    assert settings == Settings.of(home=tmp_path, window_hours=24.5, shards=4)


def test_places_follow_the_home_unless_they_are_set(tmp_path):
    settings = Settings.of(home=tmp_path, lake="s3://shop/lake", mlflow_port=5001)
    assert settings.lake.url == "s3://shop/lake"
    assert settings.privacy.key_file == str(tmp_path / "keys" / "pseudonym.json")
    assert settings.sources.address == str(tmp_path / "landing" / "{day}")
    assert settings.registry.mlflow_uri == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert settings.services.mlflow_ui == "http://127.0.0.1:5001"
    assert settings.replace(home=tmp_path / "other").lake.url == "s3://shop/lake"


def test_links_lead_to_the_mlflow_server_that_the_settings_name(tmp_path):
    elsewhere = Settings.of(home=tmp_path, mlflow_uri="https://mlflow.shop.example/")
    assert elsewhere.services.mlflow_ui == "https://mlflow.shop.example"
    behind = Settings.of(home=tmp_path, mlflow_uri="http://mlflow:5000", mlflow_ui="http://127.0.0.1:5000")
    assert behind.services.mlflow_ui == "http://127.0.0.1:5000"


@pytest.mark.parametrize("uri", ["http://mlflow:5000", "https://mlflow.shop.example/"])
def test_the_artifacts_of_a_server_are_at_the_server(tmp_path, uri):
    registry = Settings.of(home=tmp_path, mlflow_uri=uri).registry
    assert registry.mlflow_artifacts == "mlflow-artifacts:/"
    bucket = Settings.of(home=tmp_path, mlflow_uri=uri, mlflow_artifacts="s3://shop/mlflow").registry
    assert bucket.mlflow_artifacts == "s3://shop/mlflow"


@pytest.mark.parametrize("uri", ["", "sqlite:////var/mlflow.db", "postgresql://mlflow:secret@db/mlflow"])
def test_the_artifacts_of_a_server_need_a_server(tmp_path, uri):
    with pytest.raises(SettingsError, match=r"LASTAISLE_MLFLOW_ARTIFACTS should be .* received 'ml") as error:
        Settings.of(home=tmp_path, mlflow_uri=uri, mlflow_artifacts="mlflow-artifacts:/")
    assert "secret" not in str(error.value)


def test_a_folder_of_artifacts_is_the_same_folder_for_every_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings.of(home=tmp_path / "home", mlflow_artifacts="artifacts")
    assert settings.registry.mlflow_artifacts == str(tmp_path / "artifacts")


def test_settings_built_in_code_read_no_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_SHARDS", "9")
    assert Settings.of(home=tmp_path).ingest.shards == 1


def test_settings_survive_the_way_through_an_environment(tmp_path):
    settings = Settings.of(
        home=tmp_path, hyperparameters='{"layers": 2}', segment_secret="s3cret", shards=3, learn_every="day"
    )
    assert Settings.from_env(settings.to_env()) == settings
    assert settings.to_env()["LASTAISLE_SEGMENT_SECRET"] == "s3cret"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MAX_CHURN", "7", "a number of at least 0 and at most 1, received '7'"),
        ("SHARDS", "0", "a whole number of at least 1, received '0'"),
        ("SHARDS", "1.5", "a whole number of at least 1, received '1.5'"),
        ("WINDOW_HOURS", "nan", "a number of more than 0, received 'nan'"),
        ("REPLAY_HOURS", "inf", "a number of at least 0, received 'inf'"),
        ("DRIFT_FALSE_ALARMS", "1", "a number of more than 0 and less than 1, received '1'"),
        ("KEEP_VERSIONS_DAYS", "3", "a whole number of at least 7, received '3'"),
        ("AIRFLOW_PORT", "web", "a whole number of at least 1 and at most 65535, received 'web'"),
        ("MODEL_NAME", "a/b", "a letter, digit or _, then at most 199 letters, digits, spaces, _ . or -"),
        ("MODEL_NAME", "a:b", "a letter, digit or _"),
        ("MODEL_NAME", "a@b", "a letter, digit or _"),
        ("MODEL_NAME", "a'b", "a letter, digit or _"),
        ("MODEL_NAME", "a\tb", "a letter, digit or _"),
        ("MODEL_NAME", "..", "a letter, digit or _"),
        ("MODEL_NAME", "a" * 201, "a letter, digit or _"),
        ("EXPERIMENT", "a\x07b", "at most 200 characters, without control characters and quotes"),
        ("EXPERIMENT", "a" * 201, "at most 200 characters"),
        ("PARTITION", "week", "day or hour, received 'week'"),
        ("LEARN_EVERY", "week", "day or hour, received 'week'"),
        (
            "HYPERPARAMETERS",
            "layers=2",
            "a JSON object such as {\"layers\": 2}, received 'layers=2': it is no JSON",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_its_bounds_and_the_value(name, value, expected):
    message = f"LASTAISLE_{name} should be {expected}"
    with pytest.raises(SettingsError, match=re.escape(message)) as refused:
        Settings.from_env({f"LASTAISLE_{name}": value})
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("value", ['{"AWS_SECRET_ACCESS_KEY": 42424242}', "{4242424", "[4242424]"])
def test_the_value_of_a_secret_is_never_shown(value):
    with pytest.raises(SettingsError, match="LASTAISLE_LAKE_OPTIONS should be a JSON object") as refused:
        Settings.from_env({"LASTAISLE_LAKE_OPTIONS": value})
    assert "4242424" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_secrets_do_not_show_in_a_representation():
    settings = Settings.of(
        segment_secret="s3cret", segment_write_keys="s3cret", lake_options='{"AWS_KEY": "s3cret"}'
    )
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()


def test_an_unknown_variable_is_refused_and_the_closest_name_is_suggested():
    expected = re.escape("LASTAISLE_WINDOW_HUORS (did you mean LASTAISLE_WINDOW_HOURS?)")
    with pytest.raises(SettingsError, match=expected):
        Settings.from_env({"LASTAISLE_WINDOW_HUORS": "24"})
    with pytest.raises(SettingsError, match="LASTAISLE_WINDOW_HUORS"):
        Settings.of(window_huors=24)
    with pytest.raises(SettingsError, match="LASTAISLE_WINDOW_HUORS"):
        Settings.of().replace(window_huors=24)


def test_variables_that_others_read_are_known():
    Settings.from_env({other.name: "anything" for other in OTHER_VARIABLES})


def test_variables_of_a_kubernetes_service_are_no_settings():
    service = {
        "LASTAISLE_COLLECTOR_SERVICE_HOST": "10.0.0.7",
        "LASTAISLE_COLLECTOR_SERVICE_PORT_HTTP": "80",
        "LASTAISLE_COLLECTOR_PORT": "tcp://10.0.0.7:80",
        "LASTAISLE_COLLECTOR_PORT_80_TCP_ADDR": "10.0.0.7",
    }
    Settings.from_env(service)
    with pytest.raises(SettingsError, match="LASTAISLE_COLECTOR_PORT"):
        Settings.from_env({"LASTAISLE_COLECTOR_PORT": "80"})


def test_every_variable_that_the_project_names_is_known():
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    named = set()
    for file in files:
        if Path(file).suffix not in {".png", ".jpg"} and Path(file) != Path(__file__).relative_to(ROOT):
            text = (ROOT / file).read_text(encoding="utf-8", errors="ignore")
            named |= set(re.findall(r"\bLASTAISLE_[A-Z0-9_]*[A-Z0-9]\b", text))
    others = [other.name for other in OTHER_VARIABLES]
    unknown = {name for name in named if not any(fnmatchcase(name, other) for other in others)}
    assert unknown <= known_variables().keys()
    assert len(named) > 40


def test_every_setting_has_a_description_and_every_secret_is_hidden():
    for name, field in known_variables().items():
        assert (field.description or "").endswith("."), name
        if re.search("SECRET|WRITE_KEYS|OPTIONS", name):
            assert is_secret(field), name


def test_the_settings_load_nothing_heavy():
    code = "import lastaisle.settings, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"tensorflow", "duckdb", "pyarrow", "pandas", "mlflow", "airflow"} & set(loaded.split())


def test_a_mapping_stands_in_place_of_a_format():
    assert Settings.of(source_mapping="shop.yaml").sources.mapping == "shop.yaml"
    with pytest.raises(SettingsError, match="LASTAISLE_SOURCE_FORMAT is 'segment'"):
        Settings.of(source_mapping="shop.yaml", source_format="segment")
