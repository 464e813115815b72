"""A notifier for the DAGs of the shop: their failures reach people through the channels of alerts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk.bases.notifier import BaseNotifier

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.channels import configured_channels

if TYPE_CHECKING:
    from airflow.sdk import Context

    from lastaisle.delivery.notice import Notice

_TITLE = "Task {{ ti.task_id }} of {{ ti.dag_id }} failed"
_TEXT = "Run {{ ti.run_id }}, try {{ ti.try_number }}."


class LastaisleNotifier(BaseNotifier):
    """Send a message through the channels of LASTAISLE_ALERTS, for a callback of a task.

    Give it to tasks, not to a DAG: callbacks of a DAG run in the DAG processor, which holds no addresses and
    no keys. The message is sent once, at once, and is not tried again.

        default_args = {"on_failure_callback": LastaisleNotifier(severity="critical")}

    Args:
        title: one line; a template.
        text: some lines; a template. It leaves the shop, so it should hold no personal data.
        severity: how bad the failure is: a channel gets messages from its `min_severity` on.
        channels: the names of the channels; None for all.
        kind: raised; or resolved, for a callback of success: it closes the incident in PagerDuty.
        options: of `BaseNotifier`.
    """

    template_fields = ("title", "text")

    def __init__(
        self,
        *,
        title: str = _TITLE,
        text: str = _TEXT,
        severity: Literal["info", "warning", "critical"] = "warning",
        channels: Sequence[str] | None = None,
        kind: Literal["raised", "resolved"] = "raised",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.title = title
        self.text = text
        self.severity = severity
        self.channels = channels
        self.kind = kind

    def notify(self, context: Context) -> None:
        """Send the message.

        Raises:
            ChannelError: LASTAISLE_ALERTS has no channel, or none of a name.
            NotDeliveredError: a channel did not take the message.
        """
        from lastaisle.delivery.channels import named  # DAG files must stay light
        from lastaisle.delivery.deliver import send_now

        found = named(configured_channels(Settings.from_env()), self.channels)
        report = send_now(found, self._notice(context))
        for line in report.lines():
            self.log.info("%s", line)
        report.require_delivered()

    async def async_notify(self, context: Context) -> None:
        """Send the message without blocking the triggerer."""
        import asyncio

        await asyncio.to_thread(self.notify, context)

    def _notice(self, context: Context) -> Notice:
        from lastaisle.delivery.notice import Notice, digest_of

        ti: Any = context["ti"]
        task = (ti.dag_id, ti.task_id, str(ti.map_index))
        error = context.get("exception")
        lines = [self.text, f"Error: {type(error).__name__}." if error else ""]
        log_url = getattr(ti, "log_url", None)
        return Notice(
            id=f"msg_{digest_of(*task, ti.run_id, str(ti.try_number), self.kind)}",
            kind=self.kind,
            severity=self.severity,
            title=self.title,
            text="\n".join(filter(None, lines)),
            at=datetime.now(UTC),
            data={"dag": ti.dag_id, "run": ti.run_id, "task": ti.task_id, "map_index": ti.map_index},
            links=(("Log", log_url),) if log_url else (),
            group="failed_task",
            dedup_key=f"task_{digest_of(*task)}",
            rule="failed_task",
        )
