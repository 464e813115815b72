"""Where the data of shoppers lies outside the lake: topics of Kafka, folders of services, databases."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lastaisle.kafka.address import is_kafka, parse_source
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.rights.erasure.model import Topic
from lastaisle.settings.settings import PLACEHOLDERS

if TYPE_CHECKING:
    from lastaisle.settings import Settings

Connect = Callable[[str], KafkaConnection]
#: The end of the name of a topic that ingestion makes for messages that it cannot read.
DEAD_LETTERS: Final = ".dead-letters"
_SQLITE: Final = "sqlite:///"


def connect_by_environment(name: str) -> KafkaConnection:
    """Return the connection of LASTAISLE_KAFKA; there is one for all names.

    Raises:
        KafkaSourceError: the variable is missing, or holds no connection.
    """
    return KafkaConnection.from_env()


def topics_of(settings: Settings, connect: Connect = connect_by_environment) -> tuple[Topic, ...]:
    """Return the topics that hold rows of shoppers, and the topics of their unreadable messages.

    These are the topics that ingestion drains, and the topic to which the service writes. The control topic
    holds counts, and a topic of the catalogue holds items: both name no shopper.

    Args:
        settings: the settings.
        connect: returns the connection of a cluster by its name in the addresses.

    Raises:
        KafkaSourceError: an address is no address of topics, or there is no connection for it.
    """
    addresses = (settings.sources.address, settings.feedback.exposures, settings.serve.feedback)
    sources = [parse_source(address) for address in addresses if is_kafka(address)]
    named = dict.fromkeys((source.name, topic) for source in sources for topic in source.topics)
    connections = {name: connect(name) for name in dict.fromkeys(name for name, _ in named)}
    return tuple(
        Topic(f"{topic}{end}", connections[name], name, may_be_absent=bool(end))
        for name, topic in named
        for end in ("", DEAD_LETTERS)
    )


def folders_of(
    settings: Settings, requests: Path, environ: Mapping[str, str] | None = None
) -> dict[str, Path]:
    """Return folders and files of this installation that lie outside its home, by the names of reports.

    These are the folder of requests with its copies, the feedback and the cache of the service, Airflow's
    logs, and the databases of Airflow and MLflow where they are files of SQLite.

    Args:
        settings: the settings.
        requests: the folder of requests.
        environ: the environment; by default that of this process. Airflow names its folders there.
    """
    told = os.environ if environ is None else environ
    airflow = Path(told.get("AIRFLOW_HOME") or settings.home / "airflow")
    logs = told.get("AIRFLOW__LOGGING__BASE_LOG_FOLDER") or str(airflow / "logs")
    database = told.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN") or f"{_SQLITE}{airflow / 'airflow.db'}"
    found = {
        "requests": requests,
        "feedback": _folder_of(settings.serve.feedback),
        "serve": _folder_of(settings.serve.cache),
        "airflow/logs": _folder_of(logs),
        "airflow/database": _file_of(database),
        "mlflow/database": _file_of(settings.registry.mlflow_uri),
    }
    home = settings.home.resolve()
    return {
        name: path
        for name, path in found.items()
        if path is not None and path.exists() and not path.resolve().is_relative_to(home)
    }


def _folder_of(address: str) -> Path | None:
    """Return the folder of an address on this machine, up to its first placeholder; None elsewhere."""
    if not address or "://" in address:
        return None
    fixed = takewhile(lambda part: not any(name in part for name in PLACEHOLDERS), Path(address).parts)
    return Path(*fixed)


def _file_of(address: str) -> Path | None:
    return Path(address.removeprefix(_SQLITE)) if address.startswith(_SQLITE) else None
