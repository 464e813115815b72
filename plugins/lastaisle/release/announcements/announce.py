"""Announce releases and experiments that end: each message at least once to each address.

See `lastaisle.delivery.tries` for how a message is sent, noted and tried again.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from lastaisle.delivery.outbox import Outbox, receiver_of
from lastaisle.delivery.sent import Sent
from lastaisle.delivery.tries import ReceiverReport, Tries
from lastaisle.delivery.webhook import post_signed
from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.experiments.traffic import read_traffic
from lastaisle.registry.ledger import Ledger
from lastaisle.release.announcements.message import (
    TEST,
    Message,
    messages_of_releases,
    messages_of_trials,
)

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

log = logging.getLogger(__name__)


class NotAnnouncedError(LastaisleError):
    """Announcements that did not reach their services. The releases themselves stand."""

    exit_code = ExitCode.NOT_ANNOUNCED


@dataclass(frozen=True)
class AnnouncementReport:
    """What a run did.

    Attributes:
        receivers: one report for each address, in the order of the setting.
    """

    receivers: tuple[ReceiverReport, ...]

    def lines(self) -> list[str]:
        """Return the report in sentences."""
        new = [
            f"{one.receiver} is new: it hears of all moves from now on"
            for one in self.receivers
            if one.is_new
        ]
        return new + [line for one in self.receivers for line in one.lines()]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return dataclasses.asdict(self)

    def require_delivered(self) -> None:
        """Refuse a run in which a message did not arrive.

        Raises:
            NotAnnouncedError: a message failed or was given up; the error names each.
        """
        lost = [text for one in self.receivers for text in one.lost()]
        if lost:
            raise NotAnnouncedError("; ".join(lost) + ". The releases stand. See docs/releases.md")


def announce(lake: Lake, settings: Settings, now: datetime | None = None) -> AnnouncementReport:
    """Send each message that is due to each address of LASTAISLE_WEBHOOKS; safe to run at any time.

    Args:
        lake: where the ledger and the table `announcements` are.
        settings: the settings.
        now: the present moment (UTC); None for that of the clock.
    """
    now = now or datetime.now(UTC)
    moves = Ledger(lake, settings.registry.model_name).numbered_moves()
    traffic = read_traffic(lake)
    for problem in traffic.problems:
        log.warning("%s", problem)
    newest = (max((entry for entry, _ in moves), default=-1), traffic.next_entry - 1)
    reports = []
    for address in settings.announcements.addresses:
        report = ReceiverReport(receiver_of(address))
        outbox = Outbox(lake, report.receiver)
        history = outbox.read()
        if history.started is None:
            outbox.start(now, release_entry=newest[0], traffic_entry=newest[1])
            report.is_new = True
        else:
            messages = [
                *messages_of_releases(moves, history.started["release_entry"]),
                *messages_of_trials(traffic, history.started["traffic_entry"]),
            ]
            send = partial(_send, address=address, settings=settings)
            Tries(send, outbox, history, settings.announcements.webhook_hours).run(messages, now, report)
        reports.append(report)
    return AnnouncementReport(tuple(reports))


def send_test(settings: Settings) -> AnnouncementReport:
    """Send a message of the type webhook.test to each address once; nothing is noted."""
    message = Message(
        f"msg_{uuid.uuid4().hex}",
        TEST,
        datetime.now(UTC),
        {"model": settings.registry.model_name, "reason": "A test: nothing moved."},
    )
    reports = []
    for address in settings.announcements.addresses:
        report = ReceiverReport(receiver_of(address))
        report.note_only_try(message, _send(message, address, settings))
        reports.append(report)
    return AnnouncementReport(tuple(reports))


def _send(message: Message, address: str, settings: Settings) -> Sent:
    return post_signed(message.id, message.body(), address, settings.announcements.signing_keys)
