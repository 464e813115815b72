"""The Deployment asks for the paths that the service has, and its pods hold only their own secrets."""

import re
from pathlib import Path

import yaml
from starlette.testclient import TestClient

from lastaisle.settings import Settings
from lastaisle.settings.settings import known_variables
from lastaisle_airflow.local.secret_holders import HOLDERS, SERVE
from tests.serve.toys import ToyService

FOLDER = Path(__file__).resolve().parents[2] / "docker" / "kubernetes"
DEPLOYMENT, SERVICE = yaml.safe_load_all((FOLDER / "serve.yaml").read_text())
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
CONFIG = yaml.safe_load((FOLDER / "config_map.yaml").read_text())["data"]
TASK = yaml.safe_load((FOLDER / "pod_template.yaml").read_text())["spec"]["containers"][0]
README = (FOLDER / "README.md").read_text()


def test_the_probes_ask_for_paths_that_the_service_answers_without_a_key():
    with TestClient(ToyService().app) as client:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = CONTAINER[probe]["httpGet"]
            assert asked["port"] == "http"
            assert client.get(asked["path"]).text == "ok", asked
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_ports_agree_with_the_setting(tmp_path):
    port = Settings.of(home=tmp_path).serve.port
    assert CONTAINER["ports"] == [{"name": "http", "containerPort": port}]
    assert [each["targetPort"] for each in SERVICE["spec"]["ports"]] == ["http"]
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert SERVICE["spec"]["selector"] == labels == DEPLOYMENT["spec"]["selector"]["matchLabels"]


def test_kubernetes_sets_no_variable_that_looks_like_a_setting():
    assert not SERVICE["metadata"]["name"].startswith("lastaisle")
    assert POD["enableServiceLinks"] is False


def test_the_file_holds_no_secret_and_the_page_makes_all_that_the_pods_take():
    named = {one["name"] for one in CONTAINER.get("env", [])} | CONFIG.keys()
    assert {name for name in named if name.startswith("LASTAISLE_")} <= known_variables().keys()
    assert not named & HOLDERS.keys() - {"LASTAISLE_MLFLOW_URI"}, (
        "no password stands in the address of MLflow"
    )
    taken = {each["secretRef"]["name"] for each in CONTAINER["envFrom"] if "secretRef" in each}
    assert taken == {"lastaisle-serve", "lastaisle-pseudonyms"}
    for name in taken:
        assert f"kubectl create secret generic {name} " in README
    made = README.partition("generic lastaisle-serve")[2].partition("kubectl apply")[0]
    secrets = re.findall(r"--from-literal=(\w+)=", made)
    assert "LASTAISLE_SERVE_KEYS" in secrets
    assert not [name for name in secrets if SERVE not in HOLDERS.get(name, {SERVE})]


def test_the_service_keeps_feedback_where_the_tasks_of_every_pod_find_it():
    assert CONFIG["LASTAISLE_SERVE_FEEDBACK"].startswith("kafka://"), "a pod's disk is gone with the pod"
    for container in (CONTAINER, TASK):
        assert {"configMapRef": {"name": "lastaisle"}} in container["envFrom"]


def test_the_pods_change_nothing_and_keep_their_files_apart():
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert POD["automountServiceAccountToken"] is False
    mounted = {each["mountPath"] for each in CONTAINER["volumeMounts"]}
    assert mounted == {"/data", "/tmp"}


def test_the_service_has_no_way_to_the_user_ids_of_requests():
    (claim,) = yaml.safe_load_all((FOLDER / "requests.yaml").read_text())
    name = claim["metadata"]["name"]
    assert name == "lastaisle-requests"
    assert "ReadWriteMany" in claim["spec"]["accessModes"], "tasks run on several nodes"
    for variable in ("LASTAISLE_REQUESTS", "LASTAISLE_RECEIPT_KEY"):
        assert Path(CONFIG[variable]).is_relative_to("/requests")
    assert name not in yaml.safe_dump(DEPLOYMENT)
    assert name not in (FOLDER / "pod_template.yaml").read_text(), "only the pods of two tasks mount it"
    assert "kubectl apply -f docker/kubernetes/requests.yaml" in README
