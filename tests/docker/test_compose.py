"""The containers of docker/compose.yaml hold only the secrets that they use, and no secret is in the file."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from lastaisle_airflow.local import secret_holders
from lastaisle_airflow.local.mlflow.accounts import DATABASE, FORM_KEY, PASSWORDS
from tests.services.airflow import free_port
from tests.services.redis import find_redis
from tests.services.required import starts_service
from tests.services.waiting import wait_until

DOCKER = Path(__file__).resolve().parents[2] / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
AIRFLOW_DATABASE = {"setup", "api-server", "scheduler", "dag-processor", "triggerer"}
#: Every secret of docker/.env.example, and the containers that hold it. The scheduler runs tasks, too.
HOLDERS = {
    "POSTGRES_PASSWORD": {"postgres"},
    "AIRFLOW_DB_PASSWORD": {"postgres", *AIRFLOW_DATABASE},
    "MLFLOW_DB_PASSWORD": {"postgres", "mlflow"},
    "REDIS_PASSWORD": {"redis", "scheduler", "worker"},
    "AIRFLOW_ADMIN_PASSWORD": {"setup"},
    "AIRFLOW_FERNET_KEY": AIRFLOW_DATABASE,
    "AIRFLOW_API_SECRET_KEY": {"api-server"},
    "AIRFLOW_JWT_SECRET": {"api-server", "scheduler"},
    "MLFLOW_ADMIN_PASSWORD": {"mlflow"},
    "MLFLOW_PIPELINE_PASSWORD": {"mlflow", "scheduler", "worker"},
    "MLFLOW_READER_PASSWORD": {"api-server", "mlflow", "serve"},
    "MLFLOW_FORM_KEY": {"mlflow"},
    "LASTAISLE_PSEUDONYM_KEY": {"scheduler", "serve", "worker"},
    "LASTAISLE_SERVE_KEYS": {"serve"},
}
#: The services of one machine (secret_holders) by the names of their containers.
LOCAL_NAMES = {
    "setup": secret_holders.SETUP,
    "api-server": secret_holders.API_SERVER,
    "scheduler": secret_holders.SCHEDULER,
    "dag-processor": secret_holders.DAG_PROCESSOR,
    "triggerer": secret_holders.TRIGGERER,
    "mlflow": secret_holders.MLFLOW,
    "worker": secret_holders.WORKER,
    "serve": secret_holders.SERVE,
}


def text_of(service):
    """Return all that a container is told, after YAML's references are filled in."""
    return yaml.safe_dump(SERVICES[service])


def secrets_of_the_example():
    lines = (DOCKER / ".env.example").read_text().splitlines()
    return {line.removesuffix("=") for line in lines if re.fullmatch(r"[A-Z_]+=", line)}


def test_the_table_has_every_secret_of_the_example():
    assert set(HOLDERS) == secrets_of_the_example()


@pytest.mark.parametrize("secret", HOLDERS)
def test_a_secret_is_in_no_other_container(secret):
    found = {service for service in SERVICES if re.search(rf"\$\{{{secret}\W", text_of(service))}
    assert found == HOLDERS[secret]


@pytest.mark.parametrize(
    "secret",
    [
        *("LASTAISLE_WEBHOOKS", "LASTAISLE_WEBHOOK_SECRET", "LASTAISLE_ALERT_SLACK_URL"),
        *("LASTAISLE_ALERT_SMTP_URL", "LASTAISLE_ALERT_PAGERDUTY_KEY", "LASTAISLE_ALERT_WEBHOOK_URL"),
    ],
)
def test_only_containers_that_run_tasks_hold_the_optional_secrets_of_messages(secret):
    found = {service for service in SERVICES if re.search(rf"\$\{{{secret}\W", text_of(service))}
    assert found == {"scheduler", "worker"}


def test_no_secret_has_a_default_and_each_must_be_set():
    text = (DOCKER / "compose.yaml").read_text()
    for secret in HOLDERS:
        assert set(re.findall(rf"\$\{{{secret}([^}}]*)\}}", text)) == {":?set it in docker/.env"}


@pytest.mark.parametrize(("container", "local"), LOCAL_NAMES.items())
def test_containers_and_local_services_hold_the_same_secrets(container, local):
    environment = SERVICES[container]["environment"]
    refused = set(environment) - set(secret_holders.for_process(local, environment))
    # The container of MLflow makes the accounts, and drops these before it serves.
    assert refused == (set(PASSWORDS.values()) if local == secret_holders.MLFLOW else set())


def test_a_worker_has_no_key_of_airflow_and_no_database():
    environment = SERVICES["worker"]["environment"]
    keys = {name for name in environment if re.search("FERNET|JWT|SQL_ALCHEMY|SECRET", name)}
    assert keys == {"LASTAISLE_WEBHOOK_SECRET"}, "tasks sign webhooks"
    assert "postgres" not in text_of("worker")


def test_only_the_api_server_sees_airflows_passwords():
    path = SERVICES["api-server"]["environment"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
    folder = str(Path(path).parent)
    sees_it = {
        service
        for service, told in SERVICES.items()
        for volume in told.get("volumes", [])
        if volume.split(":")[1] == folder
    }
    assert sees_it == {"api-server", "setup"}


def test_airflow_and_mlflow_have_a_role_and_a_database_each():
    airflow = SERVICES["api-server"]["environment"]["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    mlflow = SERVICES["mlflow"]["environment"][DATABASE]
    assert re.search(r"//airflow:\$\{AIRFLOW_DB_PASSWORD.*@postgres/airflow$", airflow)
    assert re.search(r"//mlflow:\$\{MLFLOW_DB_PASSWORD.*@postgres/mlflow$", mlflow)


def test_mlflow_asks_for_an_account_and_takes_only_its_own_names():
    command = SERVICES["mlflow"]["command"]
    assert command[:3] == ["python", "-m", "lastaisle_airflow.local.mlflow.accounts"]
    assert "--allowed-hosts=mlflow:5000,localhost:*,127.0.0.1:*" in command
    assert {DATABASE, FORM_KEY, *PASSWORDS.values()} == set(SERVICES["mlflow"]["environment"])
    for service in ("scheduler", "worker"):
        assert SERVICES[service]["environment"]["MLFLOW_TRACKING_USERNAME"] == "pipeline"


def test_the_service_only_reads_models_and_the_lake():
    told = SERVICES["serve"]
    assert told["environment"]["MLFLOW_TRACKING_USERNAME"] == "reader"
    assert "data:/data:ro" in told["volumes"]
    written = {
        name: value for name, value in told["environment"].items() if name.endswith(("_CACHE", "_FEEDBACK"))
    }
    assert len(written) == 2 and all(value.startswith("/serve/") for value in written.values())
    assert "/serve" in (DOCKER / "Dockerfile").read_text(), "a volume takes its owner from the image"


def test_tasks_find_the_feedback_that_the_service_keeps_and_cannot_change_it():
    kept = SERVICES["serve"]["environment"]["LASTAISLE_SERVE_FEEDBACK"]
    tasks = [told for told in SERVICES.values() if "LASTAISLE_PSEUDONYM_KEY" in told.get("environment", {})]
    for told in tasks:
        assert told["environment"]["LASTAISLE_SERVE_FEEDBACK"] == kept
    seen = {name for name, told in SERVICES.items() if "serve:/serve:ro" in told.get("volumes", [])}
    assert seen == {"scheduler", "worker"}, "LocalExecutor runs tasks in the scheduler"
    for name in seen:
        assert set(SERVICES["api-server"]["volumes"]) - set(SERVICES[name]["volumes"]) == {
            "accounts:/accounts"
        }


def test_only_tasks_see_the_user_ids_of_requests_and_all_tasks_share_them():
    seen = {name for name, told in SERVICES.items() if "requests" in str(told.get("volumes", []))}
    assert seen == {"scheduler", "worker"}, "neither the service nor the pages of Airflow"
    for name in seen:
        assert "requests:/requests" in SERVICES[name]["volumes"]
        told = SERVICES[name]["environment"]
        for variable in ("LASTAISLE_REQUESTS", "LASTAISLE_RECEIPT_KEY"):
            assert Path(told[variable]).is_relative_to("/requests")
    made = re.search(r"install -d .*-m 700 (.*)", (DOCKER / "Dockerfile").read_text())
    assert made is not None and "/requests" in made[1].split(), "a volume takes owner and mode from the image"
    assert "requests" in COMPOSE["volumes"]


def test_every_port_is_open_on_this_machine_only():
    ports = [port for told in SERVICES.values() for port in told.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_every_image_can_be_given_by_its_digest():
    for service, told in SERVICES.items():
        image = told["build"]["args"]["BASE_IMAGE"] if "build" in told else told["image"]
        assert re.match(r"\$\{[A-Z]+_IMAGE:-", image), f"{service}: {image}"


@pytest.mark.service
def test_redis_refuses_a_caller_without_the_password(tmp_path):
    starts_service("Redis")
    program, port = find_redis(), free_port()
    command = [word.replace("$$", "$") for word in SERVICES["redis"]["command"]]
    command[-1] = command[-1].replace("redis-server -", f"{program} - --port {port} --bind 127.0.0.1")
    environment = {**os.environ, "REDIS_PASSWORD": "the-password"}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        wait_until("Redis refuses a stranger", lambda: ask_redis(port, "PING").startswith("-NOAUTH"), 20)
        assert "the-password" not in Path(f"/proc/{server.pid}/cmdline").read_text()
        assert ask_redis(port, "AUTH the-password", "PING") == "+OK\r\n+PONG\r\n"
        assert "WRONGPASS" in ask_redis(port, "AUTH another")
    finally:
        server.terminate()
        server.wait(20)


def ask_redis(port, *commands):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall("".join(f"{command}\r\n" for command in [*commands, "QUIT"]).encode())
            answer = b""
            while part := connection.recv(4096):
                answer += part
    except ConnectionError:
        return ""
    return answer.decode().removesuffix("+OK\r\n")  # the answer to QUIT
