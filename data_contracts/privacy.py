"""The treatment of a field by anonymize, as DuckDB SQL; the contract classifies the field."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Action = Literal["keep", "coarsen", "pseudonymize", "surrogate", "drop"]
ACTIONS: tuple[str, ...] = get_args(Action)
TRUNCATIONS = ("second", "minute", "hour", "day")
PSEUDONYM_LENGTH = 32  # hex characters, which is 128 bits
SUB_ROWS = 1 << 16  # numbers reserved for the events of one row
#: 32 hex characters: the 16 of the batch, then the position of the row in it.
SURROGATE = f"left(batch_id, 16) || lpad(lower(hex(source_row * {SUB_ROWS} + sub_row)), 16, '0')"

_DOMAIN = re.compile("[a-z][a-z0-9_]{0,49}")
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^/?#:@\s\[\]]+)"
_URL_HOST = rf"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#]*@)?{_HOST}"
_BARE_HOST = r"^([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)$"


@dataclass(frozen=True)
class Treatment:
    """The treatment of one field between raw_events and events.

    Attributes:
        action: keep, coarsen, pseudonymize, surrogate or drop.
        options: the way to coarsen: {"truncate": "second" | "minute" | "hour" | "day"} for a time,
            {"keep_prefix": regular expression} for text, {"host_only": True} for a URL. Or the domain of a
            pseudonym: {"domain": name}.
    """

    action: Action
    options: Mapping[str, Any] = field(default_factory=dict)

    def sql(self, column: str) -> str:
        """Return the DuckDB expression of the treated column; NULL stays NULL.

        A surrogate is the position of the row in raw_events (batch_id, source_row, sub_row). It says nothing
        about a person and needs no key.

        A pseudonym is the HMAC-SHA256 of the UTF-8 text, cut to 128 bits. The SQL never contains the key:
        bind the two BLOBs of `hmac_pads` to the session variables that `hmac_variables` names for the field's
        domain (as `SET VARIABLE hmac_inner_user_id = $pad`); without them the query fails.

        Raises:
            ValueError: the field is dropped, so it has no expression.
        """
        name = quote(column)
        if self.action == "drop":
            raise ValueError(f"{column} is dropped by its contract: leave it out of the SELECT")
        if self.action == "pseudonymize":
            return pseudonym_sql(name, self.domain(column))
        if self.action == "surrogate":
            return f"CASE WHEN {name} IS NOT NULL THEN {SURROGATE} END"
        if self.action == "coarsen":
            return _coarse_sql(name, self.options)
        return name

    def domain(self, column: str) -> str:
        """Return the domain of a pseudonymized column: by default its name.

        One text gives one pseudonym in all fields of a domain, and unrelated pseudonyms in two domains.
        """
        return str(self.options.get("domain", column))


def parse_treatment(value: Any) -> Treatment:
    """Read a treatment from its form in the YAML: `keep`, or `{coarsen: {truncate: minute}}`.

    Beside coarsen, only pseudonymize takes an option: `{pseudonymize: {domain: user_id}}`.

    Raises:
        ValueError: the action or the option is unknown; the message holds the value received.
    """
    action, options = (
        next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (value, {})
    )
    if action not in ACTIONS:
        raise ValueError(f"a treatment is one of {', '.join(ACTIONS)}, received {value!r}")
    taken = {"coarsen": (1,), "pseudonymize": (0, 1)}.get(action, (0,))
    if not isinstance(options, dict) or len(options) not in taken:
        raise ValueError(
            "coarsen takes one option, as {truncate: minute}; pseudonymize may take {domain: <name>}; "
            f"other treatments take none; received {value!r}"
        )
    for name, option in options.items():
        if action == "coarsen":
            _check_option(name, option)
        elif name != "domain" or not isinstance(option, str) or not _DOMAIN.fullmatch(option):
            raise ValueError(
                "pseudonymize takes a domain in lower_snake_case, at most 50 characters; "
                f"received {name}: {option!r}"
            )
    return Treatment(action, options)


def hmac_variables(domain: str) -> tuple[str, str]:
    """Return the names of the session variables for the inner and the outer pad of a domain's key."""
    return f"hmac_inner_{domain}", f"hmac_outer_{domain}"


def domain_key(key: bytes, domain: str) -> bytes:
    """Return the key of the pseudonyms of a domain: HMAC-SHA256 of `lastaisle/<domain>` with the key."""
    return hmac.digest(key, f"lastaisle/{domain}".encode(), "sha256")


def hmac_pads(key: bytes) -> tuple[bytes, bytes]:
    """Return the key as the inner and the outer pad of HMAC-SHA256 (RFC 2104), 64 bytes each.

    Source: https://www.rfc-editor.org/rfc/rfc2104, section 2.

    Raises:
        ValueError: the key is empty.
    """
    if not key:
        raise ValueError("the pseudonym key is empty")
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def quote(identifier: str) -> str:
    """Return a column name as a quoted SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _check_option(name: str, option: Any) -> None:
    if name == "truncate":
        if option not in TRUNCATIONS:
            raise ValueError(f"truncate takes one of {', '.join(TRUNCATIONS)}, received {option!r}")
    elif name == "keep_prefix":
        try:
            re.compile(option)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"keep_prefix takes a regular expression, received {option!r}: {error}"
            ) from error
    elif name != "host_only" or option is not True:
        raise ValueError(
            f"coarsen takes truncate, keep_prefix or host_only: true; received {name}: {option!r}"
        )


def pseudonym_sql(text: str, domain: str) -> str:
    """Return SQL of the pseudonym of a text in a domain; see `Treatment.sql`."""

    def pad(variable: str) -> str:
        missing = literal(f"bind the session variable {variable} before pseudonymizing")
        return f"coalesce(getvariable({literal(variable)})::BLOB, error({missing})::BLOB)"

    of_inner, of_outer = hmac_variables(domain)
    inner = f"sha256({pad(of_inner)} || encode({text}))"
    outer = f"sha256({pad(of_outer)} || unhex({inner}))"
    return f"CASE WHEN {text} IS NOT NULL THEN left({outer}, {PSEUDONYM_LENGTH}) END"


def _coarse_sql(name: str, options: Mapping[str, Any]) -> str:
    if (
        "truncate" in options
    ):  # time_bucket counts from a UTC origin, so the session's time zone does not matter
        return f"time_bucket(INTERVAL 1 {options['truncate'].upper()}, {name})"
    if "keep_prefix" in options:
        return f"nullif(regexp_extract({name}, {literal('^(?:' + options['keep_prefix'] + ')')}), '')"
    hosts = (
        f"nullif(regexp_extract({name}, {literal(pattern)}, 1), '')" for pattern in (_URL_HOST, _BARE_HOST)
    )
    return f"lower(coalesce({', '.join(hosts)}))"
