"""The trigger that watches the control topic; it runs in the triggerer, so nothing heavy is imported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.apache.kafka.triggers.shared_stream import KafkaSharedStreamTrigger
from airflow.triggers.base import TriggerEvent

from lastaisle.kafka.control import read_control


class ControlTrigger(KafkaSharedStreamTrigger):
    """Fires once a message that tells of abandoned checkouts, and passes over all others.

    One consumer stays in its group, and a message is committed when Airflow's database has the event of it: a
    triggerer that dies loses none.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow keeps of it: this class, and the arguments of the provider's."""
        return f"{type(self).__module__}.{type(self).__qualname__}", super().serialize()[1]

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Turn messages, which anybody may have written, into events."""
        async for value in shared_stream:
            said = read_control(value)
            if said is not None:
                yield TriggerEvent(said)  # type: ignore[no-untyped-call]
