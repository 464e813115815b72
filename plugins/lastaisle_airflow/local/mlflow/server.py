"""MLflow's server for every host: it shows addresses of artifacts that every host can open, and serves them.

Tasks of this machine write MLflow's database and its folder of artifacts directly, so the database holds
addresses in that folder. Another host cannot open them. The server therefore shows each address below its
default root as `mlflow-artifacts:`, an address at the server. An address at the server that a client sends
is stored as an address below the root. The database stays as it is, so the server also serves the runs and
versions of earlier releases.

pyproject.toml names the two apps for `mlflow server --app-name`. Only MLflow's server imports this module.
"""

from __future__ import annotations

import os
from typing import Any, Final

from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlLoggedModel, SqlRun
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri, resolve_uri_if_local
from sqlalchemy import String, create_engine, select, update
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

PROXIED: Final = "mlflow-artifacts:"
_ADDRESSES: Final = (
    (SqlExperiment, "artifact_location"),
    (SqlRun, "artifact_uri"),
    (SqlLoggedModel, "artifact_location"),
    (SqlModelVersion, "source"),
    (SqlModelVersion, "storage_location"),
)
"""The columns of MLflow's database that hold addresses of artifacts."""


class ArtifactAddress(TypeDecorator[str]):
    """A column of addresses: below the root in the database, at the server everywhere else.

    Args:
        root: the folder or the bucket in which the server keeps artifacts.
        length: the length of the column.
    """

    impl = String
    cache_ok = True

    def __init__(self, root: str, length: int | None = None) -> None:
        super().__init__(length)
        root = resolve_uri_if_local(root).rstrip("/")
        self.root = local_file_uri_to_path(root) if is_local_uri(root) else root

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return the address that the database keeps."""
        if value is None or not value.startswith(f"{PROXIED}/") or value.startswith(f"{PROXIED}//"):
            return value
        return self.root + value.removeprefix(PROXIED).rstrip("/")

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the address that every host can open."""
        address = value and (local_file_uri_to_path(value) if value.startswith("file:") else value)
        if value is None or not f"{address}/".startswith(f"{self.root}/"):
            return value
        return f"{PROXIED}/{address.removeprefix(self.root).strip('/')}"


def show_proxied_addresses() -> None:
    """Let this process show the addresses below the server's default root as addresses at the server."""
    root = os.environ[ARTIFACT_ROOT_ENV_VAR]
    if root.startswith(PROXIED):  # clients alone write artifacts, and the database holds such addresses
        return
    for table, name in _ADDRESSES:
        column = table.__table__.columns[name]
        column.type = ArtifactAddress(root, column.type.length)


def separate_experiments() -> None:
    """Let the new runs of each experiment lie in a folder that is named by the experiment's id.

    MLflow finds an experiment's permissions by this folder. `pipeline` could not write the runs of an
    experiment whose runs lie directly in the root.
    """
    engine = create_engine(os.environ[BACKEND_STORE_URI_ENV_VAR])
    with engine.begin() as connection:
        for number, place in connection.execute(
            select(SqlExperiment.experiment_id, SqlExperiment.artifact_location)
        ).all():
            if place and place.rstrip("/") == PROXIED:
                connection.execute(
                    update(SqlExperiment)
                    .where(SqlExperiment.experiment_id == number)
                    .values(artifact_location=f"{PROXIED}/{number}")
                )
    engine.dispose()


def create_app() -> Any:
    """Return MLflow's app, without accounts."""
    show_proxied_addresses()
    from mlflow.server.fastapi_app import app  # reads the environment of the server while it loads

    return app


def create_app_with_accounts() -> Any:
    """Return MLflow's app with accounts."""
    show_proxied_addresses()
    separate_experiments()
    from mlflow.server import auth  # reads MLFLOW_AUTH_CONFIG_PATH while it loads

    return auth.create_app()
