"""Tell OpenLineage which data a task read and wrote, from the raw file to the version that serves.

The names of datasets follow https://openlineage.io/docs/spec/naming; it has no names for MLflow. Names hold
no credentials and no queries of addresses, and no dataset tells of rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from lastaisle.errors import LastaisleError
from lastaisle.kafka.address import parse_source
from lastaisle.telemetry.shown import one_line
from lastaisle_airflow.runtime.kafka import kafka_connection

if TYPE_CHECKING:
    from lastaisle.lake.reader import LakeReader
    from lastaisle.settings import Settings

# Functions import the provider inside: DAG files must stay light.

log = logging.getLogger(__name__)
_SCHEMES: Final = {"gcs": "gs", "s3a": "s3"}


class Data(NamedTuple):
    """A dataset.

    Attributes:
        namespace: the store in which it lies.
        name: its name there.
        version: its version; empty if it has none.
        layer: the format in which a table is stored; empty for other data.
    """

    namespace: str
    name: str
    version: str = ""
    layer: str = ""


@dataclass(frozen=True)
class Flow:
    """What a task read, and what it wrote."""

    read: Sequence[Data]
    wrote: Sequence[Data]


def tell(flow: Callable[[], Flow]) -> None:
    """Tell OpenLineage what the running task read and wrote; without OpenLineage, nothing is done.

    An error costs the task nothing but a warning in its log.

    Args:
        flow: describes the data; it is called only if somebody listens.
    """
    from airflow.providers.openlineage.api import emit_dataset_lineage, is_openlineage_active

    if not is_openlineage_active():
        return
    logging.getLogger("airflow.providers.openlineage.api").setLevel(
        logging.WARNING
    )  # else it tells of events
    try:
        told = flow()
    except (LastaisleError, OSError, LookupError, ValueError) as error:
        log.warning("the lineage of this task is not told: %s", one_line(str(error)))
        return
    emit_dataset_lineage(inputs=_datasets(told.read), outputs=_datasets(told.wrote))


def file(address: str) -> Data:
    """Describe a file, a folder or an object by its path or URL, without user, password and query."""
    scheme, _, _ = address.rpartition("://")
    if not scheme:
        return Data("file", str(Path(address).absolute()))
    parts = urlsplit(address)
    if scheme == "file":
        return Data("file", parts.path)
    user, _, place = parts.netloc.rpartition("@")
    if scheme.startswith(("abfs", "wasb")) and ":" not in user:  # a container stands before the @
        place = parts.netloc
    path = parts.path if scheme.startswith("http") else parts.path.strip("/")
    return Data(f"{_SCHEMES.get(scheme, scheme)}://{place}", path or "/")


def topic(brokers: str, name: str) -> Data:
    """Describe a topic of Kafka.

    Args:
        brokers: librdkafka's bootstrap.servers; the first names the cluster.
        name: the topic.
    """
    first = brokers.partition(",")[0].strip()
    return Data(f"kafka://{first.rpartition('://')[2]}", name)


def files_of(addresses: Iterable[str]) -> list[Data]:
    """Describe files, each once."""
    return [file(address) for address in dict.fromkeys(map(str, addresses))]


def topics_of(address: str, names: Iterable[str]) -> list[Data]:
    """Describe topics of the cluster of an address such as kafka://shop/clicks, each once."""
    servers = kafka_connection(parse_source(address).name).servers
    return [topic(servers, name) for name in dict.fromkeys(names)]


def tables(lake: LakeReader, *names: str, versions: Mapping[str, int] | None = None) -> list[Data]:
    """Describe tables of the lake that exist, at their newest versions or at those that a task read."""
    known = lake.versions(names) if versions is None else versions
    return [
        file(lake.table_url(name))._replace(version=str(known[name]), layer="delta")
        for name in names
        if name in known
    ]


def run(settings: Settings, run_id: str) -> Data:
    """Describe a run of MLflow."""
    return Data(_registry(settings), f"runs/{run_id}")


def version(settings: Settings, number: str) -> Data:
    """Describe a version of the registered model."""
    return Data(_registry(settings), f"models/{settings.registry.model_name}/versions/{number}")


def alias(settings: Settings, name: str, number: str) -> Data:
    """Describe an alias, which services load, with the version that it names now."""
    return Data(_registry(settings), f"models/{settings.registry.model_name}/aliases/{name}", number)


def _registry(settings: Settings) -> str:
    parts = urlsplit(settings.services.mlflow_ui)
    return f"mlflow://{parts.netloc.rpartition('@')[2]}"


def _datasets(described: Iterable[Data]) -> list[Any]:
    """Return the described data as OpenLineage's datasets."""
    from openlineage.client.event_v2 import Dataset
    from openlineage.client.facet_v2 import dataset_version_dataset, storage_dataset

    datasets = []
    for data in described:
        facets: dict[str, Any] = {}
        if data.version:
            facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(data.version)
        if data.layer:
            facets["storage"] = storage_dataset.StorageDatasetFacet(data.layer, "parquet")
        datasets.append(Dataset(data.namespace, one_line(data.name), facets=facets))
    return datasets
