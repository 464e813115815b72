"""A host that shares no folder with training pulls a model by HTTP, with an account or without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lastaisle.registry.registry import Registry
from lastaisle.settings import Settings
from lastaisle_airflow.local.environment import environment
from lastaisle_airflow.local.mlflow.accounts import PASSWORDS, PIPELINE, READER
from lastaisle_airflow.local.services import services_of
from models.by_name import create
from models.checkout_model import CheckoutModel
from tests.airflow.local.mlflow.servers import GIVEN, command_of, running, status, variables_of
from tests.models.toys import rings
from tests.services.airflow import free_port

pytestmark = [pytest.mark.service, pytest.mark.training, pytest.mark.timeout(600)]

#: A process that runs this first opens no file below the folder, as on a host that does not have the folder.
WITHOUT_FOLDER = """
import json, os, sys
folder = sys.argv[1]
def refuse(event, arguments):
    if event in ("open", "os.listdir", "os.scandir", "os.mkdir") and folder in str(arguments[0]):
        raise PermissionError(f"{arguments[0]} is on another host")
sys.addaudithook(refuse)
import mlflow, pandas
client = mlflow.MlflowClient()
name = "checkout-recommender"
"""
PULL = """
version = client.get_model_version_by_alias(name, "champion")
run = client.get_run(version.run_id)
model_id = run.outputs.model_outputs[0].model_id
experiment = client.get_experiment(run.info.experiment_id)
addresses = [
    run.info.artifact_uri,
    client.search_runs([experiment.experiment_id])[0].info.artifact_uri,
    experiment.artifact_location,
    client.get_logged_model(model_id).artifact_location,
    client.get_model_version_download_uri(name, version.version),
]
answers = []
for uri in (f"models:/{name}@champion", f"models:/{name}/{version.version}", f"models:/{model_id}"):
    mlflow.artifacts.download_artifacts(uri, dst_path="-".join(uri.split("/")))
    model = mlflow.pyfunc.load_model(uri)
    answer = model.predict(pandas.DataFrame({"items": [["i1", "i2"]]}), params={"k": 3})
    answers.append(list(answer["items"][0]))
state = [file.path for file in client.list_artifacts(run.info.run_id, "state")]
downloaded = os.listdir(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/state"))
print(json.dumps({"addresses": addresses, "answers": answers, "state": state, "downloaded": downloaded}))
"""
PUSH = """
mlflow.set_experiment("lastaisle")
with mlflow.start_run() as run:
    mlflow.log_text("from another host", "note.txt")
    uri = mlflow.get_artifact_uri("note.txt")
client.create_registered_model("another")
version = client.create_model_version("another", run.info.artifact_uri, run.info.run_id)
print(json.dumps({"run_id": run.info.run_id, "uri": uri, "version": version.version}))
"""


def on_another_host(code, folder, home, port, account=""):
    """Run code in a process of another home that reaches MLflow by HTTP alone; return its last line."""
    folder.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "LASTAISLE_"))}
    variables = {**kept, "HOME": str(folder), "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    if account:
        variables |= {
            "MLFLOW_TRACKING_USERNAME": account,
            "MLFLOW_TRACKING_PASSWORD": GIVEN[PASSWORDS[account]],
        }
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_FOLDER + code, str(home)],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return settings, the registry and the run of a champion that tasks of this machine logged by files."""
    folder = tmp_path_factory.mktemp("training")
    settings = Settings.of(home=folder / "home", mlflow_port=free_port())
    registry = Registry(settings)
    model = create("cooccurrence")
    model.fit(rings(60, 0))
    with registry.run("a training", {}) as run_id:
        registry.log_model(run_id, model, folder)
    version = registry.register(run_id, {"lastaisle.run_key": "a training"})
    registry.set_aliases({"champion": version})
    return settings, registry, run_id


@pytest.fixture(scope="module", params=["make up", "accounts"])
def server(request, trained, tmp_path_factory):
    """Yield the port of a server, and the accounts that read and write there; "" needs none."""
    settings, _, _ = trained
    folder = tmp_path_factory.mktemp("server")
    if request.param == "make up":
        (mlflow,) = [service for service in services_of(settings) if service.name == "mlflow"]
        port = settings.services.mlflow_port
        with running(mlflow.command, environment(settings), folder, port):
            yield port, "", ""
        return
    port, artifacts = free_port(), settings.registry.mlflow_artifacts
    command = [*command_of(port, artifacts), "--default-artifact-root", artifacts]
    variables = variables_of(folder, MLFLOW_BACKEND_STORE_URI=settings.registry.mlflow_uri)
    with running(command, variables, folder, port):
        yield port, READER, PIPELINE


def test_another_host_pulls_the_champion_and_gets_the_same_answers(trained, server, tmp_path):
    settings, registry, run_id = trained
    port, reader, _ = server
    pulled = on_another_host(PULL, tmp_path / "service", settings.home, port, reader)
    assert [uri for uri in pulled["addresses"] if not uri.startswith("mlflow-artifacts:/")] == []
    (light,) = settings.home.rglob("artifacts/light")
    expected, _ = CheckoutModel(light).recommend(["i1", "i2"], k=3)
    assert pulled["answers"] == [expected] * 3
    files = {path.name for path in registry.download(run_id, "state").iterdir()}
    assert set(pulled["downloaded"]) == {Path(path).name for path in pulled["state"]} == files


def test_what_another_host_writes_is_there_for_the_tasks(trained, server, tmp_path):
    settings, registry, _ = trained
    port, _, writer = server
    pushed = on_another_host(PUSH, tmp_path / "notebook", settings.home, port, writer)
    assert pushed["uri"].startswith("mlflow-artifacts:/")
    assert registry.read_text(pushed["run_id"], "note.txt") == "from another host"
    place = registry.client.get_model_version_download_uri("another", pushed["version"])
    assert place == registry.client.get_run(pushed["run_id"]).info.artifact_uri
    assert Path(place, "note.txt").is_relative_to(settings.registry.mlflow_artifacts)
    registry.client.delete_registered_model("another")


def test_the_database_keeps_the_addresses_of_the_folder(trained, server):
    settings, registry, run_id = trained
    folder = settings.registry.mlflow_artifacts
    assert registry.client.get_run(run_id).info.artifact_uri == f"{folder}/{run_id}/artifacts"
    place = registry.client.get_experiment(registry.experiment_id).artifact_location
    assert Path(place) in (Path(folder), Path(folder, registry.experiment_id))


@pytest.mark.parametrize(
    "path",
    [
        "get-artifact?path=state/vocabulary.json&run_uuid={run_id}",
        "model-versions/get-artifact?path=MLmodel&name=checkout-recommender&version=1",
        "api/2.0/mlflow/artifacts/list?run_id={run_id}&path=state",
    ],
)
def test_the_pages_show_the_files(trained, server, path):
    _, _, run_id = trained
    port, reader, _ = server
    login = (reader, GIVEN[PASSWORDS[reader]]) if reader else ()
    assert status(port, "/" + path.format(run_id=run_id), *login) == 200
