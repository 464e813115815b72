"""The connection to a cluster: librdkafka's settings, and the three kinds of client made from them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lastaisle.kafka.errors import KafkaSourceError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Producer
    from confluent_kafka.admin import AdminClient

# Functions import confluent_kafka inside: DAG files import this module, and most of them use no Kafka.

log = logging.getLogger(__name__)

VARIABLE = "LASTAISLE_KAFKA"
_SHOWN = ("bootstrap.servers", "security.protocol", "sasl.mechanism", "sasl.mechanisms", "client.id")

#: Settings that make a read exact; they override the connection's settings. Offsets come from the tables.
_EXACT = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",
}
#: Settings that make a read fast in bounded memory. A full queue waits for the back-off (default 1 s).
_FAST = {
    "fetch.message.max.bytes": 4 << 20,
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 10,
    "queued.max.messages.kbytes": 32 << 10,
    "queued.min.messages": 1_000_000,
}
#: Settings that make a delivery certain; the client sends no duplicates.
_SAFE = {"enable.idempotence": True, "acks": "all"}
#: Settings that let the brokers decide which message is too large, and bound the messages that wait.
_LARGE = {"message.max.bytes": 1_000_000_000, "queue.buffering.max.kbytes": 64 << 10}


class Trouble:
    """The errors of a client's own thread; the client's answers do not contain them.

    Attributes:
        text: the last error that says more than that no broker answers.
        refused: whether the brokers refused a login; another attempt does not help.
    """

    def __init__(self) -> None:
        self.text = ""
        self.refused = False

    def note(self, error: KafkaError) -> None:
        """Store an error; librdkafka calls this method as its error_cb."""
        if not self.text or error.code() != error._ALL_BROKERS_DOWN:
            self.text = error.str()
        self.refused = self.refused or error.code() == error._AUTHENTICATION


class KafkaConnection:
    """The settings of one cluster.

    Args:
        config: librdkafka's settings: bootstrap.servers, security.protocol, sasl.*, ssl.* and all others.
            The settings for exact reads (no committed offsets, read_committed) override them.

    Raises:
        KafkaSourceError: bootstrap.servers is missing.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config: dict[str, Any] = {name: _text(value) for name, value in config.items()}
        if not self._config.get("bootstrap.servers"):
            raise KafkaSourceError(
                "a Kafka connection needs bootstrap.servers (host:port[,host:port...]),"
                f" received settings for {sorted(self._config) or 'nothing'}"
            )

    def __repr__(self) -> str:
        shown = {name: self._config[name] for name in _SHOWN if name in self._config}
        return f"KafkaConnection({shown})"

    @property
    def servers(self) -> str:
        """Addresses of the brokers that a client asks first."""
        return str(self._config["bootstrap.servers"])

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> KafkaConnection:
        """Read the settings from LASTAISLE_KAFKA, a JSON object.

        Raises:
            KafkaSourceError: the variable is missing, or holds no JSON object. The error hides the value.
        """
        text = (os.environ if environ is None else environ).get(VARIABLE, "")
        try:
            config = json.loads(text or "null")
        except json.JSONDecodeError as error:
            raise KafkaSourceError(f"{VARIABLE} is not JSON: {error.msg} at character {error.pos}") from None
        if not isinstance(config, dict):
            raise KafkaSourceError(
                f"{VARIABLE} should be a JSON object of librdkafka settings, such as"
                f' {{"bootstrap.servers": "localhost:9092"}}, received {type(config).__name__}'
            )
        return cls(config)

    def admin(self, trouble: Trouble | None = None) -> AdminClient:
        """Make a client that asks about topics; keep the client until its answers have come."""
        from confluent_kafka.admin import AdminClient

        left_out = ("group.id", "enable.", "isolation.", "auto.", "fetch.", "queued.", "acks", "max.poll.")
        settings = {key: value for key, value in self._config.items() if not key.startswith(left_out)}
        return AdminClient(settings | ({"error_cb": trouble.note} if trouble else {}), logger=log)

    def consumer(self, trouble: Trouble | None = None) -> Consumer:
        """Make a client that reads and leaves no trace in any consumer group."""
        from confluent_kafka import Consumer

        settings = {"group.id": "lastaisle"} | _FAST | self._config | _EXACT
        return Consumer(settings | ({"error_cb": trouble.note} if trouble else {}), logger=log)

    def producer(
        self,
        on_error: Callable[[KafkaError], None] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Producer:
        """Make a client that writes, each message once and on all replicas.

        Args:
            on_error: function to call with errors that concern no single message.
            defaults: settings that apply if the connection does not set them.
        """
        from confluent_kafka import Producer

        left_out = ("group.id", "enable.auto", "isolation.", "auto.", "fetch.", "queued.", "max.poll.")
        settings = {key: value for key, value in self._config.items() if not key.startswith(left_out)}
        error_callback = {"error_cb": on_error} if on_error else {}
        return Producer({**_LARGE, **(defaults or {}), **settings, **_SAFE, **error_callback}, logger=log)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
