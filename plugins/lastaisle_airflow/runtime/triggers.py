"""The trigger that watches the control topic. It runs in the triggerer, so nothing heavy is imported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.apache.kafka.triggers.shared_stream import KafkaSharedStreamTrigger
from airflow.triggers.base import TriggerEvent

from lastaisle.kafka.control import read_control


class ControlTrigger(KafkaSharedStreamTrigger):
    """Fire once for each message about abandoned checkouts, and pass over all other messages.

    One consumer stays in its group. It commits a message after Airflow's database has stored the event, so a
    triggerer that dies loses no message.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the two parts that Airflow stores: the path of this class, and the provider's arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", super().serialize()[1]

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Turn messages into events; any program may have written a message."""
        async for value in shared_stream:
            message = read_control(value)
            if message is not None:
                yield TriggerEvent(message)  # type: ignore[no-untyped-call]
