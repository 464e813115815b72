"""The LASTAISLE_ variables that are no settings, with their readers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple


class OtherVariable(NamedTuple):
    """A variable that is read outside the settings.

    Attributes:
        name: name of the environment variable.
        secret: whether its value must never be shown.
        description: plain text for the documentation.
    """

    name: str
    secret: bool
    description: str


ALERT_SECRETS: Final = "LASTAISLE_ALERT_*"
"""The variables that hold addresses and keys of channels; the * stands for any end."""

OTHER_VARIABLES: Final = (
    OtherVariable(
        "LASTAISLE_PSEUDONYM_KEY",
        True,
        "The pseudonym key, as 64 hex characters or more, with a version and a colon before it where it is "
        "not the first key. It goes before LASTAISLE_KEY_FILE.",
    ),
    OtherVariable(
        "LASTAISLE_KAFKA",
        True,
        "How to reach a Kafka cluster, as a JSON object of librdkafka's settings: "
        '{"bootstrap.servers": "localhost:9092"}. An Airflow connection of the same name goes before it.',
    ),
    OtherVariable(
        "LASTAISLE_AVRO_SCHEMAS",
        False,
        "Folder of the schemas that Kafka messages refer to: Avro, Protobuf and JSON Schema.",
    ),
    OtherVariable(
        "LASTAISLE_SCHEMA_REGISTRY",
        True,
        "The schema registry whose ids Kafka messages carry: its URL, or a JSON object of the settings of "
        'Confluent\'s client: {"url": "https://registry:8081", "basic.auth.user.info": "user:password"}.',
    ),
    OtherVariable(
        ALERT_SECRETS,
        True,
        "The addresses and keys of the channels of alerts, such as LASTAISLE_ALERT_SLACK_URL. The "
        "configuration of alerts names the variable of each channel ([ways out](alert-channels.md)). The * "
        "stands for any end.",
    ),
    OtherVariable(
        "LASTAISLE_SERVE_KEY",
        True,
        "The key with which `lastaisle simulate --live` calls the service: one of its LASTAISLE_SERVE_KEYS.",
    ),
    OtherVariable(
        "LASTAISLE_MLFLOW_ADMIN_PASSWORD",
        True,
        "The password of MLflow's account `admin`, which may do everything. Only the command that serves "
        "MLflow with accounts reads this variable and the next two.",
    ),
    OtherVariable(
        "LASTAISLE_MLFLOW_PIPELINE_PASSWORD",
        True,
        "The password of MLflow's account `pipeline`, which registers versions and moves the aliases.",
    ),
    OtherVariable(
        "LASTAISLE_MLFLOW_READER_PASSWORD",
        True,
        "The password of MLflow's account `reader`, which may only read: services pull models with it.",
    ),
    OtherVariable(
        "LASTAISLE_GIT_REVISION",
        False,
        "The commit that model versions name as their origin, where the code is no Git checkout.",
    ),
    OtherVariable(
        "LASTAISLE_DATA",
        False,
        "Folder of the public data sets. Tests and benchmarks read it; the pipeline does not.",
    ),
    OtherVariable("LASTAISLE_TAG", False, "Tag of the image that docker/compose.yaml starts."),
)

_OF_A_SERVICE = re.compile(r"(.+?)_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_.+)?)?)")


def of_kubernetes(names: Iterable[str]) -> set[str]:
    """Return the variables that Kubernetes sets in every pod for a Service whose name begins with lastaisle.

    They are known by <NAME>_SERVICE_HOST, which Kubernetes sets for each Service.
    """
    names = set(names)
    return {
        name
        for name in names
        if (match := _OF_A_SERVICE.fullmatch(name)) and f"{match[1]}_SERVICE_HOST" in names
    }
