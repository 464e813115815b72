"""Ask a schema registry with Confluent's REST API for the schemas of messages."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from confluent_kafka.schema_registry import Schema as RegisteredSchema
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError
from httpx2 import HTTPError, InvalidURL

from lastaisle.ingest.kafka.schema import REGISTRY, Schema, SchemaUnreadableError
from lastaisle.kafka.errors import KafkaSourceError

#: Bounds for one question; the client itself waits without end.
_DEFAULTS: Final = {"timeout": 10, "max.retries": 3}
#: The registry's own codes for what it does not hold: a subject, a version, a schema.
_ABSENT: Final = range(40400, 40500)
_Answer = TypeVar("_Answer")


class SchemaRegistry:
    """One schema registry.

    Args:
        config: the settings of Confluent's client: `url`, `basic.auth.user.info`, `ssl.*`, `bearer.auth.*`.

    Raises:
        KafkaSourceError: the settings cannot be used. The error hides their values.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        settings = {**_DEFAULTS, **config}
        urls, user = _without_user(str(config.get("url") or ""))
        if user:
            settings.setdefault("basic.auth.user.info", user)
        self.url = settings["url"] = urls
        try:
            self._client = SchemaRegistryClient(settings)
        except (ValueError, TypeError, OSError) as error:
            raise KafkaSourceError(f"{REGISTRY} cannot be used: {error}") from error

    def __repr__(self) -> str:
        return f"SchemaRegistry({self.url!r})"

    @classmethod
    def of(cls, text: str) -> SchemaRegistry:
        """Read the settings from a URL, or from a JSON object.

        Raises:
            KafkaSourceError: the text is neither. The error hides the text.
        """
        if not text.lstrip().startswith("{"):
            return cls({"url": text.strip()})
        try:
            return cls(json.loads(text))
        except json.JSONDecodeError as error:
            raise KafkaSourceError(f"{REGISTRY} is not JSON: {error.msg} at character {error.pos}") from None

    def find(self, key: bytes) -> Schema | None:
        """Return the schema of an id, with all schemas that it refers to; None if there is no such id.

        Args:
            key: a zero byte and four bytes of an id, or a one byte and 16 bytes of a GUID.

        Raises:
            KafkaSourceError: the registry gives no answer, or refuses the login.
            SchemaUnreadableError: a schema that it refers to is missing.
        """
        if len(key) == 5:
            number = int.from_bytes(key[1:], "big")
            name = f"schema {number} of {self.url}"
            schema = self._ask(name, lambda: self._client.get_schema(number))
        else:
            guid = str(uuid.UUID(bytes=key[1:]))
            name = f"schema {guid} of {self.url}"
            schema = self._ask(name, lambda: self._client.get_schema_by_guid(guid))
        if schema is None:
            return None
        imported: dict[str, str] = {}
        self._add_references(schema, imported, name)
        return Schema(schema.schema_type or "AVRO", schema.schema_str or "", imported, name)

    def _add_references(self, schema: RegisteredSchema, imported: dict[str, str], origin: str) -> None:
        for reference in schema.references or ():
            name, subject, version = str(reference.name), str(reference.subject), int(reference.version or 0)
            if name in imported:
                continue
            asked = f"version {version} of {subject}, to which {origin} refers,"

            def ask(subject: str = subject, version: int = version) -> RegisteredSchema:
                return self._client.get_version(subject, version, deleted=True).schema

            found = self._ask(asked, ask)
            if found is None:
                raise SchemaUnreadableError(f"the registry has no {asked.rstrip(',')}")
            imported[name] = found.schema_str or ""
            self._add_references(found, imported, origin)

    def _ask(self, what: str, question: Callable[[], _Answer]) -> _Answer | None:
        """Return the answer, or None if the registry says that it has no such schema."""
        try:
            return question()
        except SchemaRegistryError as error:
            if error.http_status_code == 404 and (error.error_code in _ABSENT or self._is_registry()):
                return None
            why = f"{error.error_message or 'no registry is at this address'} (HTTP {error.http_status_code})"
        except (HTTPError, InvalidURL, OAuthTokenError, OSError, ValueError, TypeError, KeyError) as error:
            why = str(error) or type(error).__name__
        raise KafkaSourceError(
            f"cannot ask the schema registry for {what}: {why[:500]}. Nothing of this range was ingested;"
            f" the next run reads it again. Check {REGISTRY}, and that the registry answers"
        )

    def _is_registry(self) -> bool:
        """Tell whether a registry answers at the address, after a 404 without a registry's own code."""
        try:
            return bool(self._client.get_schema_types())
        except (SchemaRegistryError, HTTPError, OSError, ValueError):
            return False


def _without_user(urls: str) -> tuple[str, str]:
    """Take the user and the password out of the addresses, so that no log shows them.

    Raises:
        KafkaSourceError: an address is no HTTP URL. The error hides the address.
    """
    shown, user = [], ""
    for url in urls.split(","):
        try:
            parts = urlsplit(url.strip())
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            parts, port = urlsplit(""), ""
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise KafkaSourceError(
                f"{REGISTRY} should be the URL of a schema registry, as http://localhost:8081, or a JSON"
                ' object of the settings of Confluent\'s client, as {"url": "http://localhost:8081"}'
            )
        if parts.username:
            user = user or f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        shown.append(urlunsplit((parts.scheme, host + port, parts.path.rstrip("/"), parts.query, "")))
    return ",".join(shown), user
