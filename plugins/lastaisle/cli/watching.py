"""The commands of guardrails and steps: `lastaisle releases watch` and `lastaisle releases retire`."""

from __future__ import annotations

from typing import Annotated

import typer

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import console, open_stores, write
from lastaisle.errors import ExitCode


def watch(
    dry_run: Annotated[bool, typer.Option(help="Only judge the champion; change nothing.")] = True,
    actor: Annotated[
        str, typer.Option(help="Name for the ledger of the person who watches; default: this user.")
    ] = "",
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Judge the champion by its guardrails, and the canary and the shadow by the rules of their steps."""
    from lastaisle.release.decision_table import as_text
    from lastaisle.release.guardrails.watch import watch_releases

    settings, tables, registry = open_stores(lake)
    found = watch_releases(tables, registry, settings, actor=actor or None, dry_run=dry_run)
    write(found.to_dict(), report)
    judged = found.champion
    if judged.why_unjudged:
        say(f"The guardrails do not judge version {judged.version} by its shoppers: {judged.why_unjudged}")
    if judged.checks:
        say(f"Guardrails of version {judged.version}:\n{as_text(judged.checks)}")
    for check in judged.checks:
        if not check.passed:
            say(check.reason)
    for step in found.steps:
        say(f"{step.step}, version {step.version}: {step.outcome}. {step.reason}\n{as_text(step.checks)}")
    if judged.reason and judged.held_back:
        say(f"No rollback follows. {judged.held_back}")
    if judged.asks_rollback and dry_run:
        say("This was a dry run: --no-dry-run rolls the version back.")
    if found.rolled_back is not None:
        say(f"Version {found.rolled_back} was rolled back; version {found.version} serves.")
        raise typer.Exit(ExitCode.GUARDRAIL)


def retire(
    version: Annotated[str, typer.Argument(help="The version that is shadow or canary.")],
    reason: Annotated[str, typer.Option(help="Reason, for the ledger.")],
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """End the step of a shadow or a canary; the version does not become champion."""
    from lastaisle.release.steps.retire import retire as run

    _, tables, registry = open_stores(lake)
    move = run(tables, registry, version, reason=reason)
    write(
        {"version": move.to_version, "step": move.alias, "reason": move.reason, "actor": move.actor}, report
    )
    say(f"Version {move.to_version} is no longer {move.alias}.")


def say(text: str) -> None:
    """Print a text as it is."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)
