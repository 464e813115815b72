"""MLflow asks for an account: the pipeline writes, services only read, and foreign names are refused."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lastaisle.settings import Settings
from lastaisle.settings.errors import SettingsError
from lastaisle_airflow.local.environment import environment
from lastaisle_airflow.local.mlflow.accounts import (
    ADMIN,
    PASSWORDS,
    PIPELINE,
    READER,
    read_passwords,
    write_config,
)
from lastaisle_airflow.local.services import services_of
from tests.airflow.local.mlflow.servers import GIVEN, command_of, running, status, variables_of
from tests.services.airflow import free_port

#: Names that an attacker can register. MLflow alone takes those that begin like a private address.
FOREIGN = (
    "shop.evil.example",
    "10.evil.example",
    "192.168.evil.example:5000",
    "localhost.evil.example",
    "fc00:evil",
)


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("value", ["", "  ", None])
def test_a_missing_secret_is_named(name, value):
    given = {**GIVEN, name: value} if value is not None else {key: GIVEN[key] for key in GIVEN if key != name}
    with pytest.raises(SettingsError, match=name):
        read_passwords(given)


def test_a_short_password_and_a_shared_password_are_refused_and_not_shown():
    with pytest.raises(SettingsError, match=r"LASTAISLE_MLFLOW_READER_PASSWORD.*received 5") as short:
        read_passwords({**GIVEN, PASSWORDS[READER]: "hello"})
    with pytest.raises(SettingsError, match="equal") as shared:
        read_passwords({**GIVEN, PASSWORDS[READER]: GIVEN[PASSWORDS[PIPELINE]]})
    assert "hello" not in str(short.value)
    assert GIVEN[PASSWORDS[PIPELINE]] not in str(shared.value)


def test_the_file_of_the_accounts_is_private_and_keeps_percent_signs(tmp_path):
    import configparser

    path = write_config("postgresql://mlflow:a%40b@db/mlflow", tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    config = configparser.ConfigParser()
    config.read(path)
    assert config["mlflow"]["database_uri"] == "postgresql://mlflow:a%40b@db/mlflow"


@pytest.mark.service
@pytest.mark.timeout(300)
def test_the_local_server_refuses_a_foreign_name(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_SERVER_ALLOWED_HOSTS", raising=False)
    settings = Settings.of(
        home=tmp_path / "home", mlflow_port=free_port(), mlflow_ui="https://mlflow.shop.example"
    )
    (tmp_path / "home" / "mlflow").mkdir(parents=True)
    (mlflow,) = [service for service in services_of(settings) if service.name == "mlflow"]
    port = settings.services.mlflow_port
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    with running(mlflow.command, environment(settings), tmp_path, port):
        assert {host: status(port, path, Host=host) for host in FOREIGN} == dict.fromkeys(FOREIGN, 403)
        for host in ("127.0.0.1", f"127.0.0.1:{port}", f"localhost:{port}", "mlflow.shop.example"):
            assert status(port, path, Host=host) == 200, host
        create = "/api/2.0/mlflow/experiments/create"
        for number, (origin, expected) in enumerate(
            [
                ("https://evil.example", 403),
                ("https://mlflow.shop.example", 200),
                (f"http://127.0.0.1:{port}", 200),
            ]
        ):
            body = {"name": f"experiment {number}"}
            assert status(port, create, method="POST", body=body, Origin=origin) == expected, origin


@pytest.fixture(scope="module")
def accounts(tmp_path_factory):
    """Yield the port of a server with accounts, and its folder."""
    folder = tmp_path_factory.mktemp("mlflow-accounts")
    port = free_port()
    with running(command_of(port), variables_of(folder), folder, port) as server:
        held = server.environ()
        assert not set(PASSWORDS.values()) & set(held), "the server keeps the passwords of its accounts"
        yield port, folder


def as_account(port, account, code):
    """Run code as a service would, in a process of its own, with the login of an account."""
    login = {
        "MLFLOW_TRACKING_USERNAME": account,
        "MLFLOW_TRACKING_PASSWORD": GIVEN.get(PASSWORDS.get(account), "no"),
    }
    variables = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        **(login if account else {}),
    }
    ended = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False, timeout=240
    )
    return ended.returncode, ended.stdout + ended.stderr


REGISTER = """
import mlflow
from mlflow import MlflowClient

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return ["an item"]

mlflow.set_experiment("lastaisle")
with mlflow.start_run() as run:
    mlflow.log_metric("recall", 0.5)
    logged = mlflow.pyfunc.log_model(name="recommender", python_model=Model(), pip_requirements=[])
version = mlflow.register_model(logged.model_uri, "checkout-recommender")
MlflowClient().set_registered_model_alias("checkout-recommender", "champion", version.version)
"""
LOAD = """
import mlflow
print(mlflow.pyfunc.load_model("models:/checkout-recommender@champion").predict(["a session"]))
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name("lastaisle")
print(len(client.search_runs([experiment.experiment_id])), "run")
"""
TRAIN = """
import tempfile
from pathlib import Path
from lastaisle.registry.registry import Registry
from lastaisle.settings import Settings
from models.by_name import create
from tests.models.toys import rings

registry = Registry(Settings.of(home=Path.cwd(), mlflow_uri="{uri}", experiment="{experiment}"))
model = create("cooccurrence")
model.fit(rings(60, 0))
with registry.run("a training", {{}}) as run_id:
    registry.log_model(run_id, model, Path(tempfile.mkdtemp()))
print(registry.client.get_run(run_id).info.artifact_uri)
"""
V2 = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts"
WRITES = [
    (
        "POST",
        f"{V2}/registered-models/alias",
        {"name": "checkout-recommender", "alias": "champion", "version": "1"},
    ),
    ("DELETE", f"{V2}/registered-models/alias", {"name": "checkout-recommender", "alias": "champion"}),
    ("POST", f"{V2}/model-versions/create", {"name": "checkout-recommender", "source": "runs:/1/evil"}),
    ("POST", f"{V2}/registered-models/create", {"name": "a-free-name"}),
    ("POST", f"{V2}/experiments/create", {"name": "a-free-name"}),
    ("POST", f"{V2}/runs/create", {"experiment_id": "0"}),
    *(
        (method, f"{prefix}{path}", {})
        for prefix in (ARTIFACTS, ARTIFACTS.replace("/api", "/ajax-api"))
        for method, path in [
            ("PUT", "/artifacts/1/models/evil.pkl"),
            ("PUT", "/artifacts/evil.pkl"),
            ("DELETE", "/artifacts/1/models"),
            ("DELETE", "/artifacts/1"),
            ("POST", "/mpu/create/1/models/evil.pkl"),
            ("POST", "/mpu/complete/1/models/evil.pkl"),
            ("POST", "/mpu/abort/1/models/evil.pkl"),
        ]
    ),
    ("POST", f"{V2}/artifacts/presigned-upload-url", {"run_id": "1", "path": "evil.pkl"}),
    ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=1&path=evil.pkl", {}),
    ("PATCH", f"{V2}/users/update-password", {"username": READER, "password": "a-new-password"}),
    ("POST", f"{V2}/users/create", {"username": "another", "password": "a-new-password"}),
]


@pytest.mark.service
@pytest.mark.timeout(600)
class TestAccounts:
    def test_the_pipeline_registers_and_a_service_loads(self, accounts):
        port, _ = accounts
        code, output = as_account(port, PIPELINE, REGISTER)
        assert code == 0, output
        code, output = as_account(port, READER, LOAD)
        assert code == 0, output
        assert "an item" in output and "1 run" in output

    @pytest.mark.parametrize("account", ["", "nobody"])
    def test_nobody_loads_a_model_without_an_account(self, accounts, account):
        port, _ = accounts
        code, output = as_account(port, account, LOAD)
        assert code != 0 and "401" in output

    @pytest.mark.parametrize(("method", "path", "body"), WRITES)
    def test_a_service_and_a_stranger_write_nothing(self, accounts, method, path, body):
        port, _ = accounts
        assert status(port, path, method=method, body=body) == 401
        assert status(port, path, READER, GIVEN[PASSWORDS[READER]], method, body) == 403

    @pytest.mark.parametrize("prefix", [ARTIFACTS, ARTIFACTS.replace("/api", "/ajax-api")])
    @pytest.mark.parametrize("path", ["/artifacts?path=1", "/artifacts/1/note.txt", "/presigned/1/note.txt"])
    def test_a_stranger_reads_no_artifact_and_a_service_does(self, accounts, prefix, path):
        port, folder = accounts
        (folder / "artifacts" / "1").mkdir(parents=True, exist_ok=True)
        (folder / "artifacts" / "1" / "note.txt").write_text("for readers")
        assert status(port, prefix + path) == 401
        reads = status(port, prefix + path, READER, GIVEN[PASSWORDS[READER]])
        assert reads == (501 if "presigned" in path else 200), "a folder has no presigned addresses"

    def test_the_tasks_write_into_a_folder_of_their_experiment(self, accounts):
        port, _ = accounts
        code, output = as_account(
            port, PIPELINE, TRAIN.format(uri=f"http://127.0.0.1:{port}", experiment="a")
        )
        assert code == 0, output
        assert re.search(r"^mlflow-artifacts:/\d+/\w+/artifacts$", output, re.MULTILINE), output

    def test_a_foreign_name_is_refused_even_with_an_account(self, accounts):
        port, _ = accounts
        login = (READER, GIVEN[PASSWORDS[READER]])
        path = f"{V2}/experiments/get?experiment_id=0"
        assert status(port, path, *login) == 200
        assert {host: status(port, path, *login, Host=host) for host in FOREIGN} == dict.fromkeys(
            FOREIGN, 403
        )

    def test_the_tasks_write_into_an_experiment_of_an_earlier_version(self, tmp_path):
        """Its runs lay directly in the root, where MLflow finds no permission of `pipeline`."""
        client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
        number = client.create_experiment("old", artifact_location="mlflow-artifacts:/")
        port = free_port()
        with running(command_of(port), variables_of(tmp_path), tmp_path, port):
            code, output = as_account(
                port, PIPELINE, TRAIN.format(uri=f"http://127.0.0.1:{port}", experiment="old")
            )
        assert code == 0, output
        assert f"mlflow-artifacts:/{number}/" in output

    def test_a_restart_sets_new_passwords_and_keeps_what_is_stored(self, accounts):
        _, folder = accounts
        port = free_port()
        changed = {PASSWORDS[READER]: "a-new-password-of-reader"}
        path = f"{V2}/registered-models/get?name=a-model"
        with running(command_of(port), variables_of(folder, **changed), folder, port):
            admin = (ADMIN, GIVEN[PASSWORDS[ADMIN]])
            assert status(port, f"{V2}/registered-models/create", *admin, "POST", {"name": "a-model"}) == 200
            assert status(port, path, READER, GIVEN[PASSWORDS[READER]]) == 401
            assert status(port, path, READER, changed[PASSWORDS[READER]]) == 200


def test_no_secret_of_the_accounts_is_in_the_repository():
    text = (Path(__file__).resolve().parents[4] / "docker" / ".env.example").read_text()
    for name in PASSWORDS.values():
        assert f"\n{name.removeprefix('LASTAISLE_')}=\n" in text
