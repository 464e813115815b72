"""The rules old_champion and guardrail: what the ledger says of the version that serves."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from lastaisle.lake.tables import BATCHES, RELEASES
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import GUARDRAIL, OLD_CHAMPION, Evidence, Finding
from lastaisle.monitor.alerts.rules.arrivals import read_sources
from lastaisle.registry.ledger import REFUSE, REGISTER, ROLLBACK, Ledger, standing
from lastaisle.release.guardrails.reason import ROLLED_BACK
from lastaisle.telemetry.shown import utc


class OldChampionOptions(RuleOptions):
    """The limits of old_champion."""

    days: float = Field(
        default=14.0,
        gt=0,
        le=3650,
        description="The age of a champion, since its registration.",
    )
    arrival_days: float = Field(
        default=3.0,
        gt=0,
        le=365,
        description="Without any logs for so long, no champion counts as too old.",
    )


class GuardrailOptions(RuleOptions):
    """The limits of guardrail."""

    hours: float = Field(
        default=72.0,
        gt=0,
        le=8760,
        description="How long a rollback is told of, if no version is promoted before.",
    )


def check_old_champion(context: Context[OldChampionOptions]) -> list[Finding]:
    """Find a champion that was registered long ago, while new logs come.

    Ages are by the clock of the release. So a champion that learned from logs of the past is not old.
    """
    moves = Ledger(context.lake, context.settings.registry.model_name).moves()
    champion = standing(moves).champion
    if champion is None:
        return []
    of_version = [move for move in moves if move.to_version == champion]
    began = next((move for move in reversed(of_version) if move.action == REGISTER), of_version[0])
    limit = timedelta(days=context.options.days)
    arrivals = read_sources(context.lake, context.now, timedelta(days=context.options.arrival_days))
    if context.now - began.moved_at <= limit or not any(one.table == BATCHES for one in arrivals):
        return []
    refused = sum(move.action == REFUSE and move.moved_at > began.moved_at for move in moves)
    counted = "1 candidate was" if refused == 1 else f"{refused or 'no'} candidates were"
    return [
        Finding(
            OLD_CHAMPION,
            "warning",
            {"model": context.settings.registry.model_name},
            f"The champion, version {champion}, was registered at {utc(began.moved_at)}. The limit is "
            f"{context.options.days:g} days; {counted} refused since then.",
            began.moved_at + limit,
            (
                Evidence("The moves of the ledger", table=RELEASES, query="lastaisle releases"),
                Evidence("The run of the champion in MLflow", run_id=began.run_id),
            ),
        )
    ]


def check_guardrail(context: Context[GuardrailOptions]) -> list[Finding]:
    """Find a rollback by the guardrails after which no version became champion."""
    moves = Ledger(context.lake, context.settings.registry.model_name).moves()
    champion = standing(moves).champion
    rollbacks = [
        move
        for move in moves
        if move.action == ROLLBACK
        and move.reason.startswith(ROLLED_BACK)
        and move.to_version == champion
        and context.now - move.moved_at <= timedelta(hours=context.options.hours)
    ]
    return [
        Finding(
            GUARDRAIL,
            "critical",
            {"model": context.settings.registry.model_name, "version": str(move.from_version)},
            move.reason,
            move.moved_at,
            (
                Evidence("The moves of the version", query=f"lastaisle releases why {move.from_version}"),
                Evidence("The run of the version that serves now", table=RELEASES, run_id=move.run_id),
            ),
        )
        for move in rollbacks[-1:]
    ]
