"""The channels of a configuration, ready to send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lastaisle.delivery.config import ChannelConfig
from lastaisle.delivery.mail import LOCAL_SERVER, mail, server_of
from lastaisle.delivery.notice import Notice, Severity, is_milder
from lastaisle.delivery.outbox import digest_of
from lastaisle.delivery.pagerduty import EVENTS, pagerduty
from lastaisle.delivery.resolver import ChannelError, EnvironmentResolver, Resolver
from lastaisle.delivery.sent import Sent
from lastaisle.delivery.slack import slack
from lastaisle.delivery.webhook import webhook
from lastaisle.settings.announcements import problem_of_address, signing_keys_of
from lastaisle.yaml_model import closest

_SIGNING_SECRET: Final = "LASTAISLE_WEBHOOK_SECRET"  # signs the announcements too


@dataclass(frozen=True)
class Channel:
    """A way to people or services.

    Attributes:
        name: how reports name the channel.
        receiver: how the table `announcements` names what is at the other end. Another address is another
            receiver.
        send: sends one notice, and never raises for what the network or the receiver does.
        min_severity: milder alerts are not sent.
        rules: only alerts of these rules are sent; None for all.
        problem: why the channel cannot be used; empty if it can.
    """

    name: str
    receiver: str
    send: Callable[[Notice], Sent]
    min_severity: Severity = "info"
    rules: frozenset[str] | None = None
    problem: str = ""

    def wants(self, notice: Notice) -> bool:
        """Tell whether the channel gets a notice; it gets every test."""
        is_asked = self.rules is None or notice.rule in self.rules
        return notice.kind == "test" or (is_asked and not is_milder(notice.severity, self.min_severity))


def channels_of(configs: Iterable[ChannelConfig], resolver: Resolver | None = None) -> list[Channel]:
    """Return the channels of a configuration, in its order.

    A channel that cannot be used is there too, and says why: it may not silence the others. Notifiers of
    Airflow come last: each has time limits of its own.

    Args:
        configs: what the configuration says.
        resolver: reads the secrets; None for those of the environment.
    """
    ordered = sorted(configs, key=lambda config: config.kind == "airflow")
    return [_channel_of(config, resolver or EnvironmentResolver()) for config in ordered]


def named(channels: Sequence[Channel], names: Sequence[str] | None) -> list[Channel]:
    """Return the channels of some names; all channels without names.

    Raises:
        ChannelError: there is no channel at all, or none of a name.
    """
    if not channels:
        raise ChannelError(
            "no channel is configured: write one into a file, such as docs/alerts.sample.yaml, and set "
            "LASTAISLE_ALERTS to its path"
        )
    known = [channel.name for channel in channels]
    for name in names or ():
        if name not in known:
            raise ChannelError(f"there is no channel {name!r}; {closest(name, known, 'the channels are')}")
    return [channel for channel in channels if not names or channel.name in names]


def _channel_of(config: ChannelConfig, resolver: Resolver) -> Channel:
    problem = ""
    try:
        identity, send = _MAKERS[config.kind](config, resolver)
    except ChannelError as error:
        problem, identity, send = str(error), "", _never
    return Channel(
        config.shown_name,
        f"alerts/{config.kind}#{digest_of(identity)}",
        send,
        config.min_severity,
        None if config.rules is None else frozenset(config.rules),
        problem,
    )


_Made = tuple[str, Callable[[Notice], Sent]]


def _email(config: ChannelConfig, resolver: Resolver) -> _Made:
    if config.connection:
        address, _ = resolver.connection(config.connection, config.kind)
    elif config.address_from:
        address = resolver.variable(config.address_from)
    else:
        address = LOCAL_SERVER
    recipients = config.to or []
    try:
        server = server_of(address)
    except ValueError as error:
        raise ChannelError(f"the address in {_place(config)} {error}") from None
    # The recipients are the receiver: another mail server or password repeats no message.
    return json.dumps(sorted(recipients)), mail(server, config.sender or "", recipients)


def _slack(config: ChannelConfig, resolver: Resolver) -> _Made:
    address = _web_address(config, resolver)[0]
    return address, slack(address)


def _pagerduty(config: ChannelConfig, resolver: Resolver) -> _Made:
    if config.connection:
        _, key = resolver.connection(config.connection, config.kind)
    else:
        key = resolver.variable(config.key_from or "")
    if not key.isascii() or not key.isalnum():
        raise ChannelError(f"the routing key in {_place(config)} should be letters and digits only")
    base_url = config.base_url or EVENTS
    return f"{base_url} {key}", pagerduty(key, base_url)


def _webhook(config: ChannelConfig, resolver: Resolver) -> _Made:
    address, key = _web_address(config, resolver)
    variable = config.key_from or _SIGNING_SECRET
    try:
        keys = signing_keys_of(key or resolver.variable(variable))
    except ValueError as error:
        place = f"the Airflow connection {config.connection}" if key else variable
        raise ChannelError(f"{error} in {place}") from None
    if not keys:
        raise ChannelError(f"{variable} holds no secret that would sign")
    return address, webhook(address, keys)


def _airflow(config: ChannelConfig, resolver: Resolver) -> _Made:
    identity = json.dumps([config.notifier, config.arguments], sort_keys=True)
    return identity, resolver.notifier(config)


_MAKERS: Final[dict[str, Callable[[ChannelConfig, Resolver], _Made]]] = {
    "email": _email,
    "slack": _slack,
    "pagerduty": _pagerduty,
    "webhook": _webhook,
    "airflow": _airflow,
}


def _web_address(config: ChannelConfig, resolver: Resolver) -> tuple[str, str]:
    """Return the address of a webhook, and the key that stands beside it in a connection."""
    if config.connection:
        address, key = resolver.connection(config.connection, config.kind)
    else:
        address, key = resolver.variable(config.address_from or ""), ""
    if problem := problem_of_address(address):
        raise ChannelError(f"the address in {_place(config)} {problem}")
    return address, key


def _place(config: ChannelConfig) -> str:
    if config.connection:
        return f"the Airflow connection {config.connection}"
    return config.address_from or config.key_from or "the configuration"


def _never(notice: Notice) -> Sent:
    raise AssertionError(f"a channel with a problem sent {notice.id}")
