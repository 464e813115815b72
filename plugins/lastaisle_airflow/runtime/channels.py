"""The channels of alerts inside Airflow: secrets of its connections, and its own notifiers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from airflow.sdk import Connection
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.exceptions import AirflowNotFoundException

from lastaisle.delivery.resolver import ChannelError, EnvironmentResolver
from lastaisle.delivery.sent import Sent

if TYPE_CHECKING:
    from lastaisle.delivery.channels import Channel
    from lastaisle.delivery.config import ChannelConfig
    from lastaisle.delivery.notice import Notice
    from lastaisle.settings import Settings

_SIGNING_SECRET: Final = "whsec_"


class AirflowResolver(EnvironmentResolver):
    """Reads environment variables and Airflow's connections; uses Airflow's notifiers."""

    def connection(self, name: str, kind: str) -> tuple[str, str]:
        """See `lastaisle.delivery.resolver.Resolver.connection`."""
        try:
            found = Connection.get(name)
        except AirflowNotFoundException as error:
            raise ChannelError(
                f"there is no Airflow connection {name}: add it, or correct its name"
            ) from error
        address, key = _READERS[kind](found)
        if not address and not key:
            raise ChannelError(f"the Airflow connection {name} has neither a host nor a password")
        return address, key

    def notifier(self, config: ChannelConfig) -> Callable[[Notice], Sent]:
        """See `lastaisle.delivery.resolver.Resolver.notifier`."""
        arguments = config.arguments or {}
        _new_notifier(str(config.notifier), arguments)

        def send(notice: Notice) -> Sent:
            notifier = _new_notifier(str(config.notifier), arguments)  # rendering its templates changes it
            try:
                notifier({"notice": notice, "ti": None, "dag": None})
            except Exception as error:  # of any provider; its text may hold the address
                return Sent(f"the notifier failed ({type(error).__name__}): see the log of this task")
            return Sent()

        return send


def configured_channels(settings: Settings) -> list[Channel]:
    """Return the channels of the file of LASTAISLE_ALERTS.

    Raises:
        AlertConfigError: the file cannot be read, or says something that has no meaning.
    """
    from lastaisle.delivery.channels import channels_of  # DAG files must stay light
    from lastaisle.monitor.alerts.config import read_config

    return channels_of(read_config(settings).channels, AirflowResolver())


def _new_notifier(name: str, arguments: Mapping[str, Any]) -> BaseNotifier:
    """Make a notifier.

    Raises:
        ChannelError: there is no such class, it is no notifier, or it does not take the arguments.
    """
    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ChannelError(f"there is no notifier {name} ({error}): install its provider") from error
    if not isinstance(kind, type) or not issubclass(kind, BaseNotifier):
        raise ChannelError(f"{name} is no notifier of Airflow (a class below BaseNotifier)")
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ChannelError(f"the notifier {name} does not take its arguments: {error}") from error


def _of_mail(found: Connection) -> tuple[str, str]:
    """Return the address of the mail server, from a connection of the type smtp."""
    extra = found.extra_dejson
    scheme = "smtps"
    if _is_set(extra, "disable_ssl"):
        scheme = "smtp+plain" if _is_set(extra, "disable_tls") else "smtp"
    login = ""
    if found.login and found.password:
        login = f"{quote(found.login, safe='')}:{quote(found.password, safe='')}@"
    port = f":{found.port}" if found.port else ""
    sender = f"?from={quote(str(extra['from_email']))}" if extra.get("from_email") else ""
    return (f"{scheme}://{login}{_bracketed(found.host)}{port}{sender}" if found.host else ""), ""


def _of_slack(found: Connection) -> tuple[str, str]:
    """Return the address of the webhook: the password holds it whole, or its last part."""
    token = found.password or ""
    if token.startswith(("https://", "http://")):
        return token, ""
    address, _ = _of_web(found)
    return (f"{address.rstrip('/')}/{token.lstrip('/')}" if token else address), ""


def _of_pagerduty(found: Connection) -> tuple[str, str]:
    """Return the routing key, from a connection of the type pagerduty_events or pagerduty."""
    return "", str(found.password or found.extra_dejson.get("routing_key") or "")


def _of_web(found: Connection) -> tuple[str, str]:
    """Return the address of a webhook, and the secret that signs, from a connection of the type http."""
    password = found.password or ""
    key = password if password.startswith(_SIGNING_SECRET) else ""
    host = found.host or ""
    if not host or "://" in host:
        return host, key
    scheme = found.schema if found.schema in ("http", "https") else "https"
    port = f":{found.port}" if found.port else ""
    machine, _, path = host.partition("/")
    return f"{scheme}://{machine}{port}/{path}", key


_READERS: Final[dict[str, Callable[[Connection], tuple[str, str]]]] = {
    "email": _of_mail,
    "slack": _of_slack,
    "pagerduty": _of_pagerduty,
    "webhook": _of_web,
}


def _is_set(extra: Mapping[str, Any], name: str) -> bool:
    """Tell whether a box of a connection is ticked: a truth value in Airflow's page, a text by hand."""
    return str(extra.get(name, "")).lower() in ("true", "1", "yes")


def _bracketed(host: str | None) -> str:
    return f"[{host}]" if host and ":" in host and not host.startswith("[") else host or ""
