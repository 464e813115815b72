"""The same DAG on other executors: Celery with two workers and a bucket, and the pods of Kubernetes."""

import configparser
import re
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.settings.settings import known_variables
from lastaisle_airflow.local.secret_holders import HOLDERS, SERVE, WORKER, for_process
from lastaisle_airflow.runtime.pods import with_pseudonym_key, with_requests
from tests.airflow.scheduler.history import assert_same_tables, days_of, write_history
from tests.services.airflow import environment_of, heavy_libraries_of, running_airflow
from tests.services.redis import running_redis
from tests.services.s3 import running_s3

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = ROOT / "docker" / "kubernetes" / "pod_template.yaml"
DAYS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("executors")
    write_history(folder / "landing", DAYS)
    return folder


@pytest.fixture(scope="module")
def store(folder):
    """A bucket with the history; the environment names its address."""
    with running_s3() as store:
        store.put(str(folder / "landing"), "shop/landing", recursive=True)
        yield store


@pytest.fixture(scope="module")
def expected(folder):
    """The tables that one process makes in a folder; LocalExecutor makes the same (test_backfill.py)."""
    lake = Lake(folder / "lake")
    keys = PseudonymKeys.load_or_create(folder / "keys.json", environ={})
    for day in days_of(DAYS):
        ingest(
            str(folder / "landing" / day), "canonical", lake, keys, options=IngestOptions(gx_sample_rows=0)
        )
    return lake


@pytest.fixture(scope="module")
def celery(folder, store):
    """Airflow on CeleryExecutor with two workers, which share only Redis, the bucket and a key."""
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis(folder / "redis"))
        given = {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__BROKER_URL": redis,
            "AIRFLOW__CELERY__RESULT_BACKEND": redis,
            "LASTAISLE_GX_SAMPLE_ROWS": "0",
            "LASTAISLE_LAKE": "s3://shop/lake",
            "LASTAISLE_SOURCE": "s3://shop/landing/{day}",
            "LASTAISLE_SHARDS": "2",
            "LASTAISLE_KEY_FILE": str(folder / "keys.json"),
        }
        airflow = stack.enter_context(running_airflow(folder / "airflow", **given))
        workers = [stack.enter_context(running_worker(airflow, name)) for name in ("one", "two")]
        yield airflow, workers


class running_worker:  # noqa: N801
    """A Celery worker of an Airflow, with a prefork pool of two processes and a home of its own.

    It has none of Airflow's secrets: its home is empty, so it does not know the database, and generates keys
    that no other part has.
    """

    def __init__(self, airflow, name):
        self.log = airflow.home / f"worker-{name}.log"
        self.home = airflow.home / f"home-of-{name}"
        command = ["celery", "worker", "--concurrency", "2", "--celery-hostname", f"{name}@%h"]
        with self.log.open("wb") as output:
            self.process = psutil.Popen(
                [sys.executable, "-m", "airflow", *command, "--skip-serve-logs", "--without-gossip"],
                env={
                    **for_process(WORKER, airflow.environment),
                    "AIRFLOW_HOME": str(self.home),
                    "PYTHONUNBUFFERED": "1",
                },
                cwd=airflow.home,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (*self.process.children(recursive=True), self.process):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(60)


AIRFLOWS_SECRETS = (
    ("database", "sql_alchemy_conn"),
    ("core", "fernet_key"),
    ("api", "secret_key"),
    ("api_auth", "jwt_secret"),
)


def secrets_of(home):
    """Return the secrets in the configuration of an Airflow folder."""
    config = configparser.RawConfigParser()
    config.read(home / "airflow.cfg")
    return {
        config.get(section, name)
        for section, name in AIRFLOWS_SECRETS
        if config.get(section, name, fallback="")
    }


@pytest.fixture(scope="module")
def runs(celery):
    airflow, workers = celery
    airflow.wait_for("both workers", lambda: all(" ready." in worker.log.read_text() for worker in workers))
    days = days_of(DAYS)
    airflow.command(
        "backfill", "create", "--dag-id", "ingest_sessions", "--from-date", days[0], "--to-date", days[-1]
    )

    def finished_runs():
        finished = [run for run in airflow.api.runs("ingest_sessions") if run.partition in days]
        return finished if len(finished) == DAYS and all(run.finished for run in finished) else None

    return airflow.wait_for("all days", finished_runs, timeout=600)


@pytest.mark.service
@pytest.mark.timeout(900)
class TestCelery:
    def test_two_workers_share_the_work_and_the_tables_are_the_same(self, celery, runs, expected):
        airflow, workers = celery
        assert {run.state for run in runs} == {"success"}
        assert_same_tables(airflow.lake, expected)
        for worker in workers:
            assert "succeeded in" in worker.log.read_text(), f"{worker.log}: the worker had no task"

    def test_a_worker_needs_neither_the_database_nor_the_keys_of_airflow(self, celery, runs):
        airflow, workers = celery
        assert {run.state for run in runs} == {"success"}
        shared = secrets_of(airflow.home / "airflow")
        assert len(shared) == len(AIRFLOWS_SECRETS)
        for worker in workers:
            assert not secrets_of(worker.home) & shared
            assert not set(worker.process.environ()) & {
                *("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__FERNET_KEY"),
                *("AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"),
            }

    def test_nothing_is_left_on_the_workers_own_disk(self, celery, runs):
        airflow, _ = celery
        assert not (airflow.home / "lake").exists()
        assert not (airflow.home / "landing").exists()

    def test_no_process_that_forks_tasks_holds_libraries_with_threads(self, celery, runs):
        airflow, workers = celery
        for process in (airflow.process.pid, *(worker.process.pid for worker in workers)):
            assert heavy_libraries_of(process) == {}


@pytest.fixture
def pod():
    """The pod of a task of ingest_sessions."""
    return pod_of("ingest_batches")


def pod_of(task_id, override=None):
    """Make the pod of a task in the same way as KubernetesExecutor does."""
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    return PodGenerator.construct_pod(
        dag_id="ingest_sessions",
        task_id=task_id,
        run_id="backfill__2025-10-09T00:00:00+00:00",
        map_index=3,
        try_number=1,
        date=None,
        pod_id="ingest-sessions-ingest-batches",
        kube_image="registry.example/lastaisle:1.2.3",
        args=["python", "-m", "airflow.sdk.execution_time.execute_workload", "--json-string", "{}"],
        pod_override_object=override,
        base_worker_pod=PodGenerator.deserialize_model_file(str(TEMPLATE)),
        namespace="lastaisle",
        scheduler_job_id="7",
        with_mutation_hook=True,
    )


def test_a_pod_runs_our_image_with_settings_and_secrets_of_the_cluster(pod):
    (container,) = pod.spec.containers
    assert container.name == "base", "the name by which the executor looks for it"
    assert container.image == "registry.example/lastaisle:1.2.3"
    assert container.args[-2:] == ["--json-string", "{}"]
    assert [source.config_map_ref.name for source in container.env_from if source.config_map_ref] == [
        "lastaisle"
    ]
    assert [source.secret_ref.name for source in container.env_from if source.secret_ref] == ["lastaisle"]
    secret_words = ("KEY", "SECRET", "PASSWORD", "SQL_ALCHEMY")
    assert not [
        entry.name for entry in container.env or [] if any(part in entry.name for part in secret_words)
    ]
    assert pod.metadata.labels["dag_id"] == "ingest_sessions"
    assert pod.metadata.annotations["map_index"] == "3"


def secrets_of_pod(pod):
    (container,) = pod.spec.containers
    return {source.secret_ref.name for source in container.env_from if source.secret_ref}


def test_only_the_pod_that_makes_pseudonyms_has_their_key(pod, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    override = with_pseudonym_key()["pod_override"]
    assert secrets_of_pod(pod) == {"lastaisle"}
    assert secrets_of_pod(pod_of("anonymize_shard", override)) == {"lastaisle", "lastaisle-pseudonyms"}
    (container,) = pod_of("anonymize_shard", override).spec.containers
    assert container.security_context.read_only_root_filesystem, "the rest of the template stays"
    assert [source.config_map_ref.name for source in container.env_from if source.config_map_ref]


def test_only_the_pods_that_read_requests_of_shoppers_mount_their_volume(pod, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    for pseudonym_key, secrets in ((True, {"lastaisle", "lastaisle-pseudonyms"}), (False, {"lastaisle"})):
        made = pod_of("do_request", with_requests(pseudonym_key=pseudonym_key)["pod_override"])
        assert secrets_of_pod(made) == secrets
        mounted = {mount.mount_path: mount.name for mount in made.spec.containers[0].volume_mounts}
        assert mounted.keys() == {"/data", "/tmp", "/requests"}, "the rest of the template stays"
        claims = {each.name: each.persistent_volume_claim for each in made.spec.volumes}
        assert claims[mounted["/requests"]].claim_name == "lastaisle-requests"
    assert all(volume.persistent_volume_claim is None for volume in pod.spec.volumes)
    for executor in ("LocalExecutor", "CeleryExecutor"):
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
        assert with_requests(pseudonym_key=True) == {}


SHOW_PODS = """
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

dag = DagBag("dags/ingest_sessions.py", bundle_path="dags").dags["ingest_sessions"]
for task in DagSerialization.to_dict(dag)["dag"]["tasks"]:
    if "lastaisle-pseudonyms" in str(task):
        print("has the key:", task["__var"]["task_id"])
"""


def test_the_dag_gives_the_key_to_the_tasks_that_make_pseudonyms_or_know_erased_shoppers(tmp_path):
    environment = {**environment_of(tmp_path), "AIRFLOW__CORE__EXECUTOR": "KubernetesExecutor"}
    ended = subprocess.run(
        [sys.executable, "-c", SHOW_PODS],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    given = sorted(re.findall("has the key: (.*)", ended.stdout))
    assert given == ["anonymize_shard", "ingest_batches", "ingest_exposures"], ended.stderr


def test_other_executors_need_no_pod(monkeypatch):
    for executor in ("LocalExecutor", "CeleryExecutor"):
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
        assert with_pseudonym_key() == {}


def test_the_page_of_kubernetes_gives_task_pods_no_key_of_airflow():
    page = (TEMPLATE.parent / "README.md").read_text()
    secrets = dict(re.findall(r"create secret generic (\S+) (.*?)\n *```", page, re.DOTALL))
    given = {name: set(re.findall(r"--from-literal=(\w+)", text)) for name, text in secrets.items()}
    assert set(given) == {"lastaisle", "lastaisle-pseudonyms", "lastaisle-serve"}
    tasks_may_hold = {name for name, holders in HOLDERS.items() if WORKER in holders}
    assert given["lastaisle-pseudonyms"] == {"LASTAISLE_PSEUDONYM_KEY"}
    service_may_hold = {name for name, holders in HOLDERS.items() if SERVE in holders}
    of_service = {name for name in given["lastaisle-serve"] if not name.startswith("AWS_")}
    assert of_service <= service_may_hold | {"MLFLOW_TRACKING_USERNAME"}
    others = {name for name in given["lastaisle"] if not name.startswith(("AWS_", "AIRFLOW_CONN_"))}
    assert others <= (tasks_may_hold | {"MLFLOW_TRACKING_USERNAME"}) - {"LASTAISLE_PSEUDONYM_KEY"}


def test_a_pod_has_no_rights_and_nothing_of_its_node(pod):
    assert all(volume.host_path is None for volume in pod.spec.volumes)
    assert not pod.spec.host_network and not pod.spec.host_pid
    assert pod.spec.automount_service_account_token is False
    assert pod.spec.security_context.run_as_non_root
    (container,) = pod.spec.containers
    assert container.security_context.capabilities.drop == ["ALL"]
    assert container.security_context.allow_privilege_escalation is False
    assert container.security_context.read_only_root_filesystem
    assert container.resources.limits["memory"]
    writable = {mount.mount_path for mount in container.volume_mounts}
    assert writable == {"/data", "/tmp"}


def test_every_setting_of_the_config_map_exists():
    import yaml

    (settings,) = yaml.safe_load_all((TEMPLATE.parent / "config_map.yaml").read_text())
    variables = {name for name in settings["data"] if name.startswith("LASTAISLE_")}
    assert variables <= set(known_variables())
    local = {name for name in ("LASTAISLE_LAKE", "LASTAISLE_SOURCE") if "://" not in settings["data"][name]}
    assert not local, "pods share no folder"
