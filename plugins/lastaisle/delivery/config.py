"""What the configuration of alerts says about a channel: a kind, an address, and which alerts it gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from lastaisle.delivery.mail import is_mail_address
from lastaisle.delivery.notice import Severity
from lastaisle.settings.announcements import problem_of_address
from lastaisle.settings.others import ALERT_SECRETS
from lastaisle.yaml_model import Part, all_different

ChannelKind = Literal["email", "slack", "pagerduty", "webhook", "airflow"]

#: The keys that a channel of each kind may have, beside those of every channel.
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "email": frozenset({"to", "sender", "address_from", "connection"}),
    "slack": frozenset({"address_from", "connection"}),
    "pagerduty": frozenset({"key_from", "connection", "base_url"}),
    "webhook": frozenset({"address_from", "key_from", "connection"}),
    "airflow": frozenset({"notifier", "arguments"}),
}
_OF_EVERY_CHANNEL: Final = frozenset({"kind", "name", "min_severity", "rules"})
_PREFIX: Final = ALERT_SECRETS.removesuffix("*")
_SIGNING_SECRET: Final = "LASTAISLE_WEBHOOK_SECRET"


def _variable(name: str) -> str:
    if re.fullmatch(rf"{_PREFIX}[A-Z0-9_]+", name) or name == _SIGNING_SECRET:
        return name
    raise ValueError(
        f"should be the name of an environment variable such as {_PREFIX}SLACK_URL, received {name[:20]!r}: "
        f"only tasks and commands get the variables that begin with {_PREFIX}"
    )


def _mail_address(address: str) -> str:
    if not is_mail_address(address):
        raise ValueError(f"should be a mail address such as anna@shop.example, received {address[:60]!r}")
    return address


def _web_address(address: str) -> str:
    if problem := problem_of_address(address):
        raise ValueError(f"{problem}, received {address[:60]!r}")
    return address


Variable = Annotated[str, AfterValidator(_variable)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}$")]


class ChannelConfig(Part):
    """A way to people or services, and which alerts it gets.

    Attributes:
        kind: what is at the other end.
        name: how reports name the channel; its kind without a name.
        min_severity: milder alerts are not sent.
        rules: only alerts of these rules are sent; without the key, those of all rules.
        address_from: the environment variable that holds the address: of an incoming webhook, of a webhook,
            or of a mail server.
        key_from: the environment variable that holds the routing key of PagerDuty, or the secrets that sign
            webhooks.
        connection: the Airflow connection that holds the same.
        to: who gets the e-mail.
        sender: the address that the e-mail comes from.
        base_url: where PagerDuty's Events API is.
        notifier: the class of a notifier of Airflow.
        arguments: the arguments of the notifier; templates may use `notice`.
    """

    model_config = ConfigDict(title="Channel")

    kind: ChannelKind
    name: Name | None = None
    min_severity: Severity = "info"
    rules: Annotated[list[str], Field(min_length=1), AfterValidator(all_different)] | None = None
    address_from: Variable | None = None
    key_from: Variable | None = None
    connection: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    to: Annotated[list[MailAddress], Field(min_length=1), AfterValidator(all_different)] | None = None
    sender: MailAddress | None = None
    base_url: Annotated[str, AfterValidator(_web_address)] | None = None
    notifier: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w]*(\.[A-Za-z_]\w*)+$")] | None = None
    arguments: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        given = {
            key for key in type(self).model_fields if getattr(self, key) is not None
        } & self.model_fields_set
        if unused := given - _KEYS[self.kind] - _OF_EVERY_CHANNEL:
            raise ValueError(f"a channel of kind {self.kind} has no use for {', '.join(sorted(unused))}")
        if missing := _missing(self.kind, given):
            raise ValueError(f"a channel of kind {self.kind} needs {missing}")
        if "connection" in given and (twice := given & {"address_from", "key_from"}):
            raise ValueError(f"the connection and {', '.join(sorted(twice))} both say the same: keep one")
        return self

    @property
    def shown_name(self) -> str:
        """The name in reports."""
        return self.name or self.kind


def _missing(kind: str, given: set[str]) -> str:
    """Say which key a channel lacks; empty if none."""
    needed: dict[str, tuple[tuple[str, ...], ...]] = {
        "email": (("to",),),
        "slack": (("address_from", "connection"),),
        "pagerduty": (("key_from", "connection"),),
        "webhook": (("address_from", "connection"),),
        "airflow": (("notifier",),),
    }
    lacking = (" or ".join(keys) for keys in needed[kind] if not given & set(keys))
    return " and ".join(lacking)
