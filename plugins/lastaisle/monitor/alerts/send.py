"""Send the messages of alerts through the channels of the configuration."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lastaisle.delivery.channels import channels_of
from lastaisle.delivery.deliver import DeliveryReport, deliver
from lastaisle.monitor.alerts.log import read_alerts
from lastaisle.monitor.alerts.notices import notices_of

if TYPE_CHECKING:
    from lastaisle.delivery.resolver import Resolver
    from lastaisle.lake.lake import Lake
    from lastaisle.monitor.alerts.config import AlertConfig


def send_alerts(
    lake: Lake, config: AlertConfig, *, now: datetime | None = None, resolver: Resolver | None = None
) -> DeliveryReport:
    """Send the messages that are due; each goes once to each channel that wants it.

    Args:
        lake: where the tables `alerts` and `announcements` are.
        config: the channels, and how messages are grouped and repeated.
        now: the moment; the present by default.
        resolver: reads the secrets of the channels; by default from the environment.
    """
    if not config.channels:
        return DeliveryReport(())
    now = now or datetime.now(UTC)
    channels = channels_of(config.channels, resolver)
    return deliver(lake, channels, notices_of(read_alerts(lake), config, now), now)
