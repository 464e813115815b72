"""Deliver notices through the channels: each notice at least once to each channel that wants it."""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lastaisle.delivery.channels import Channel
from lastaisle.delivery.notice import Notice
from lastaisle.delivery.outbox import History, Outbox
from lastaisle.delivery.tries import ReceiverReport, Tries
from lastaisle.errors import ExitCode, LastaisleError

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

log = logging.getLogger(__name__)

HOURS: Final = 72.0
"""How long after its first try a notice that fails is tried again."""


class NotDeliveredError(LastaisleError):
    """Notices that did not reach their people."""

    exit_code = ExitCode.NOT_ANNOUNCED


@dataclass(frozen=True)
class DeliveryReport:
    """What a run did.

    Attributes:
        channels: one report for each channel, in the order of the configuration.
        problems: why channels cannot be used, by name.
    """

    channels: tuple[ReceiverReport, ...]
    problems: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report in sentences."""
        return [*self.problems, *(line for one in self.channels for line in one.lines())]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return dataclasses.asdict(self)

    def require_delivered(self) -> None:
        """Refuse a run in which a notice did not arrive, or a channel could not be used.

        Raises:
            NotDeliveredError: the error names each notice and each channel.
        """
        lost = [*self.problems, *(text for one in self.channels for text in one.lost())]
        if lost:
            raise NotDeliveredError("; ".join(lost) + ". The alerts stand. See docs/alert-channels.md")


def deliver(
    lake: Lake, channels: Sequence[Channel], notices: Iterable[Notice], now: datetime, hours: float = HOURS
) -> DeliveryReport:
    """Send each notice that is due through each channel; safe to run at any time.

    A channel that is used for the first time hears of the alerts that are open, and not of those that were
    resolved before. A channel that fails holds back no other.

    Args:
        lake: where the table `announcements` is.
        channels: the channels.
        notices: the notices, with the same ids at each run, in any order.
        now: the present moment (UTC).
        hours: how long after its first try a notice that fails is tried again.
    """
    notices = sorted(notices, key=lambda notice: (notice.at, notice.id))
    reports = []
    for channel in _usable(channels):
        outbox, report = Outbox(lake, channel.receiver), ReceiverReport(channel.name)
        history = outbox.read()
        started = now if history.started is None else history.started["at"]
        wanted = [notice for notice in _told(history, started, notices) if channel.wants(notice)]
        if history.started is None and wanted:
            outbox.start(now)
            report.is_new = True
        Tries(channel.send, outbox, history, hours).run(wanted, now, report)
        reports.append(report)
    return DeliveryReport(tuple(reports), _problems(channels))


def send_test(channels: Sequence[Channel]) -> DeliveryReport:
    """Send a test notice through each channel once; nothing is noted."""
    name = uuid.uuid4().hex
    text = "This is a test of the channel. No alert was raised, and nothing needs to be done."
    at = datetime.now(UTC)
    test = Notice(
        f"msg_{name}", "test", "info", "Lastaisle can reach you", text, at, dedup_key=f"test-{name}"
    )
    return send_now(channels, test)


def send_now(channels: Sequence[Channel], notice: Notice) -> DeliveryReport:
    """Send a notice through each channel that wants it once; nothing is noted, and nothing tried again."""
    reports = []
    for channel in _usable(channels):
        report = ReceiverReport(channel.name)
        if channel.wants(notice):
            report.note_only_try(notice, channel.send(notice))
        reports.append(report)
    return DeliveryReport(tuple(reports), _problems(channels))


def _usable(channels: Iterable[Channel]) -> list[Channel]:
    return [channel for channel in channels if not channel.problem]


def _problems(channels: Iterable[Channel]) -> tuple[str, ...]:
    return tuple(
        f"channel {channel.name} cannot be used: {channel.problem}" for channel in channels if channel.problem
    )


def _told(history: History, started: datetime, notices: Sequence[Notice]) -> list[Notice]:
    """Return the notices without those of alerts that were over before a channel's first use.

    If the channel has heard of the alert, it hears of its end too, whatever the clocks say.
    """
    heard = {notice.key for notice in notices if notice.id in history.done or notice.id in history.tries}
    over = {
        notice.key: notice.at
        for notice in notices
        if notice.kind == "resolved" and notice.at < started and notice.key not in heard
    }
    return [notice for notice in notices if notice.key not in over or notice.at > over[notice.key]]
