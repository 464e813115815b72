"""Ask MLflow which version an alias has, and fetch the files of that version.

Only the thread that polls imports this module, since MLflow takes more than a second to import.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lastaisle.registry  # noqa: F401  sets MLflow's other variables
from lastaisle.registry.tags import DIGEST
from lastaisle.serve.following.cache import VersionInfo
from lastaisle.serve.following.errors import MlflowAwayError, VersionUnavailableError
from lastaisle.telemetry.shown import one_line, without_password
from models.checkout_model import damage_of
from models.stored import digest_of

# The next poll asks again: MLflow's client need not, for minutes, with a line in the log each time.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

import mlflow
import yaml
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from lastaisle.registry.runs import is_missing

if TYPE_CHECKING:
    from lastaisle.settings import Settings

SQLITE: Final = "sqlite:///"
MAX_SHOWN: Final = 300  # characters of another program's error
_ADDRESS_IN_MEMORY: Final = re.compile(r" at 0x[0-9a-f]+")


class MlflowVersions:
    """The versions of the registered model in MLflow.

    Args:
        settings: where MLflow is, and the name of the model.
    """

    def __init__(self, settings: Settings) -> None:
        self._address = settings.registry.mlflow_uri
        self._shown = without_password(self._address)
        self._name = settings.registry.model_name
        self._client: Any = None

    def find(self, alias: str) -> VersionInfo:
        """Return the version that an alias has now; one small request.

        Raises:
            MlflowAwayError: MLflow cannot be asked.
            VersionUnavailableError: MLflow has no such model or alias.
        """
        with self._asking(f"alias {alias!r}", "Set the alias, or train a first version"):
            return self._info(self._connected().get_model_version_by_alias(self._name, alias))

    def get(self, version: str) -> VersionInfo:
        """Return a version by its number; one small request.

        Raises:
            MlflowAwayError: MLflow cannot be asked.
            VersionUnavailableError: MLflow has no such model or version.
        """
        with self._asking(f"version {version}", "Name a version that MLflow has"):
            return self._info(self._connected().get_model_version(self._name, version))

    @contextmanager
    def _asking(self, wanted: str, advice: str) -> Iterator[None]:
        """Turn the errors of a request into those that callers know.

        Args:
            wanted: what MLflow is asked for, in words.
            advice: what to do if MLflow does not have it.
        """
        try:
            yield
        except VersionUnavailableError:
            raise
        except Exception as error:  # of MLflow, of its HTTP client or of its database
            if isinstance(error, MlflowException) and _is_unknown(error):
                raise VersionUnavailableError(
                    f"the model {self._name} in MLflow at {self._shown} has no {wanted}: "
                    f"{self._words(error)}. {advice}"
                ) from error
            raise MlflowAwayError(
                f"MLflow at {self._shown} cannot be asked: {self._words(error)}. Start MLflow, or correct "
                "LASTAISLE_MLFLOW_URI"
            ) from error

    def _info(self, found: Any) -> VersionInfo:
        return VersionInfo(
            name=self._name,
            version=str(found.version),
            run_id=str(found.run_id or ""),
            created=int(found.creation_timestamp or 0),
            digest=str(found.tags.get(DIGEST, "")),
        )

    def fetch(self, info: VersionInfo, folder: Path) -> str:
        """Fetch the files that `CheckoutModel` opens, and check them.

        Args:
            info: the version. If it has a digest, the fetched files must have the same digest.
            folder: where the files get to; it does not exist yet.

        Returns:
            The digest of the packed model.

        Raises:
            VersionUnavailableError: the files cannot be fetched, are damaged, or hold no light model.
        """
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            packed, light = self._download(info, Path(name))
            if light is None:
                raise VersionUnavailableError(
                    f"{info.named} in MLflow at {self._shown} holds no light model, as the versions of "
                    "release 0.1 (SavedModel) and models of other projects: train and release a new version"
                )
            received, damage = digest_of(packed), damage_of(packed / light)
            if damage or (info.digest and received != info.digest):
                why = damage or f"expected the digest {info.digest}, received {received}"
                raise VersionUnavailableError(
                    f"{info.named} in MLflow at {self._shown} is not what was registered: "
                    f"{why.replace(f'{packed}{os.sep}', '')}. Release another version"
                )
            (packed / light).rename(folder)
        return received

    def _download(self, info: VersionInfo, folder: Path) -> tuple[Path, str | None]:
        """Fetch a packed model; return its folder, and where in it the light model lies, if it has one.

        Raises:
            VersionUnavailableError: the files cannot be fetched.
        """
        uri = f"models:/{info.name}/{info.version}"
        try:
            description = Path(download_artifacts(f"{uri}/MLmodel", dst_path=str(folder)))
            light = _light_folder(description.read_text(encoding="utf-8"))
            packed = Path(download_artifacts(uri, dst_path=str(folder))) if light else folder
            if light and not (packed / light).resolve().is_relative_to(packed.resolve()):
                raise ValueError(f"MLmodel names a folder outside the model: {light!r}")
        except Exception as error:  # of MLflow, of its HTTP client, or of the store of artifacts
            raise VersionUnavailableError(
                f"{info.named} cannot be fetched from MLflow at {self._shown}: {self._words(error)}"
            ) from error
        return packed, light

    def _connected(self) -> Any:
        """Return MLflow's client.

        Raises:
            MlflowAwayError: MLflow's database is a file that does not exist. MLflow would make an empty
                database.
        """
        if self._address.startswith(SQLITE):
            file = Path(self._address.removeprefix(SQLITE))
            if not file.is_file():
                raise MlflowAwayError(
                    f"MLflow's database {file} does not exist: train a first version, or correct "
                    "LASTAISLE_MLFLOW_URI"
                )
        if self._client is None:
            mlflow.set_tracking_uri(self._address)
            mlflow.set_registry_uri(self._address)
            self._client = mlflow.MlflowClient(self._address, self._address)
        return self._client

    def _words(self, error: Exception) -> str:
        """Describe another program's error in one line that stays the same from poll to poll."""
        root: BaseException = error
        while root.__cause__ or root.__context__:
            root = root.__cause__ or root.__context__ or root
        told = root if isinstance(root, OSError) else error
        text = str(told).partition("\n")[0].replace(self._address, self._shown)
        text = one_line(_ADDRESS_IN_MEMORY.sub("", text))
        return f"{type(told).__name__}: {text[:MAX_SHOWN]}"


def _is_unknown(error: MlflowException) -> bool:
    """Tell whether MLflow says that it has no such model, version or alias."""
    return is_missing(error) or error.error_code == "INVALID_PARAMETER_VALUE"


def _light_folder(description: str) -> str | None:
    """Return where in a packed model the light model lies, by the file MLmodel; None if it has none."""
    flavors = yaml.safe_load(description)["flavors"]
    artifacts = flavors.get("python_function", {}).get("artifacts") or {}
    return str(artifacts["light"]["path"]) if "light" in artifacts else None
