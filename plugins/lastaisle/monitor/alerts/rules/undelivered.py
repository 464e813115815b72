"""The rule undelivered: messages do not reach a receiver."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

import pyarrow.compute as pc
from pydantic import Field

from lastaisle.lake.tables import ANNOUNCEMENTS
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import UNDELIVERED, Evidence, Finding
from lastaisle.telemetry.shown import utc

_TRIED = ("sent", "failed", "given_up")


class UndeliveredOptions(RuleOptions):
    """The limits of undelivered."""

    minutes: float = Field(
        default=60.0,
        ge=0,
        le=40_320,
        description="How long a receiver may fail before there is an alert.",
    )
    days: int = Field(
        default=7,
        ge=1,
        le=365,
        description="Tries that are older than this do not count.",
    )


def check(context: Context[UndeliveredOptions]) -> list[Finding]:
    """Find the receivers whose tries all failed for a while, up to the newest try."""
    if context.lake.version(ANNOUNCEMENTS) is None:
        return []
    since = context.now - timedelta(days=context.options.days)
    rows = context.lake.scan(ANNOUNCEMENTS, where=pc.field("at") >= since).to_pylist()
    by_receiver = defaultdict[str, list[dict[str, Any]]](list)
    for row in sorted(rows, key=lambda row: row["at"]):
        if row["state"] in _TRIED:
            by_receiver[row["receiver"]].append(row)
    findings = []
    for receiver, tries in sorted(by_receiver.items()):
        failing: list[dict[str, Any]] = []
        for row in tries:
            failing = [] if row["state"] == "sent" else [*failing, row]
        given_up = sum(row["state"] == "given_up" for row in failing)
        if not failing or (
            not given_up and context.now - failing[0]["at"] <= timedelta(minutes=context.options.minutes)
        ):
            continue
        query = (
            f'SELECT "at", announcement, event, state, problem FROM {ANNOUNCEMENTS} '
            f"WHERE receiver = '{receiver}' ORDER BY \"at\" DESC"
        )
        messages = len({row["announcement"] for row in failing})
        findings.append(
            Finding(
                UNDELIVERED,
                "warning",
                {"receiver": receiver},
                f"{messages} message{'s do' if messages > 1 else ' does'} not reach {receiver} since "
                f"{utc(failing[0]['at'])}, and {given_up} of them are given up: {failing[-1]['problem']}.",
                failing[0]["at"],
                (Evidence("The tries", table=ANNOUNCEMENTS, query=query),),
            )
        )
    return findings
