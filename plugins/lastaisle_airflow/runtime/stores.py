"""Reach object stores through Airflow connections: s3:// or gs://<connection>@<bucket>/<path>."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from lastaisle.errors import SourceError
from lastaisle.settings import Settings

if TYPE_CHECKING:
    from lastaisle.lake import Lake

_GOOGLE = ("gs", "gcs")


def source_options(url: str) -> tuple[str, dict[str, Any]]:
    """Return the address of a source without its connection, and fsspec's options to reach it.

    An address without a connection stays as it is. Its credentials come from the environment.

    Raises:
        SourceError: there is no such connection, or no provider for the store.
    """
    plain, scheme, name = _split(url)
    if not name:
        return url, {}
    extra = _extra(name)
    if scheme in _GOOGLE:
        return plain, _google(extra)
    from airflow.sdk import ObjectStoragePath  # it loads fsspec: DAG files must stay light

    try:
        return plain, dict(ObjectStoragePath(url).fs.storage_options)
    except (ValueError, ImportError, AirflowException) as error:
        raise SourceError(f"cannot reach {plain} through the connection {name!r}: {error}") from error


def open_lake(settings: Settings) -> Lake:
    """Return the lake. LASTAISLE_LAKE may name a connection; LASTAISLE_LAKE_OPTIONS overrides its values.

    Raises:
        SourceError: there is no such connection, or the connection reaches no lake.
        SettingsError: see `lastaisle.lake.opening`.
    """
    from lastaisle.lake import Lake, opening  # delta-rs may not be loaded before a worker forks

    plain, scheme, name = _split(settings.lake.url)
    if not name:
        return opening.open_lake(settings)
    extra = _extra(name)
    if scheme in _GOOGLE:
        key = _google(extra).get("token")
        kind = "google_service_account" if isinstance(key, str) else "google_service_account_key"
        options = {kind: _text(key)} if key else {}
    elif scheme in ("s3", "s3a"):
        options = _amazon(name)
    else:
        raise SourceError(f"a lake with an Airflow connection should be at s3:// or gs://, received {plain}")
    return Lake(plain, options | opening.lake_options(settings.replace(lake=plain)))


def _split(url: str) -> tuple[str, str, str]:
    """Return the address without its connection, its scheme, and the connection's id."""
    parts = urlsplit(url)
    name, _, bucket = parts.netloc.rpartition("@")
    return parts._replace(netloc=bucket).geturl() if name else url, parts.scheme, name


def _extra(name: str) -> dict[str, Any]:
    """Return the extra of a connection; raise if it is missing, since the Amazon provider does not."""
    try:
        return dict(Connection.get(name).extra_dejson)
    except AirflowNotFoundException as error:
        raise SourceError(
            f"there is no Airflow connection {name!r}: add it, or remove its name from the address"
        ) from error


def _google(extra: dict[str, Any]) -> dict[str, Any]:
    """Return gcsfs's options, from the extra of a connection of type google_cloud_platform."""
    extra = {key.removeprefix("extra__google_cloud_platform__"): value for key, value in extra.items()}
    key = extra.get("keyfile_dict") or extra.get("key_path")
    if isinstance(key, str) and key.lstrip().startswith("{"):
        key = json.loads(key)
    options = {"token": key, "project": extra.get("project")}
    return {option: value for option, value in options.items() if value}


def _amazon(name: str) -> dict[str, str]:
    """Return delta-rs's options, from a connection of type aws."""
    try:
        # Inside the function: DAG files must stay light, and this provider loads boto3.
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        hook = S3Hook(aws_conn_id=name)
        keys = hook.get_credentials()
        endpoint = hook.conn_config.get_service_endpoint_url(service_name="s3") or ""
    except (ImportError, AirflowException) as error:
        raise SourceError(f"cannot use the Airflow connection {name!r}: {error}") from error
    options = {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_SESSION_TOKEN": keys.token,
        "AWS_REGION": hook.region_name,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true" if endpoint.startswith("http://") else "",
    }
    return {option: value for option, value in options.items() if value}


def _text(token: str | dict[str, Any]) -> str:
    return token if isinstance(token, str) else json.dumps(token)
