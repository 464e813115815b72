"""Commands that read the ledger and look after the registered versions: `lastaisle releases`.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lastaisle.cli.options import LakeUrl, Report, moment_of, writable
from lastaisle.cli.terminal import console, open_stores, read_settings, show, write
from lastaisle.errors import ExitCode

if TYPE_CHECKING:
    from lastaisle.registry.ledger import Move

OneVersion = Annotated[str, typer.Argument(help="Number of the version.", show_default=False)]


def show_moves(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="Only moves since this day or time (UTC).")] = "",
    version: Annotated[str, typer.Option(help="Only moves of this version.")] = "",
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Show the moves of the ledger, and look after the registered versions."""
    if context.invoked_subcommand is not None:
        return
    from lastaisle.lake.opening import open_lake
    from lastaisle.registry.ledger import Ledger
    from lastaisle.release.history import moves_since

    settings = read_settings(lake)
    ledger = Ledger(open_lake(settings), settings.registry.model_name)
    moves = moves_since(ledger, moment_of(since, "--since"), version or None)
    write({"moves": [dataclasses.asdict(move) for move in moves]}, report)
    _print_moves(moves, f"{settings.registry.model_name}: {len(moves):,} moves")


def at(
    moment: Annotated[str, typer.Argument(metavar="TIME", help="A day or a time (UTC).", show_default=False)],
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Show which version served at a time, which versions had the other aliases, and which trials ran."""
    from lastaisle.lake.opening import open_lake
    from lastaisle.release.history import what_served

    parsed = moment_of(moment, "TIME")
    if parsed is None:
        raise typer.BadParameter("TIME is a day such as 2025-10-09 or a time such as 2025-10-09T12:00")
    settings = read_settings(lake)
    then = what_served(open_lake(settings), settings.registry.model_name, parsed)
    write(then.to_dict(), report)
    served = then.champion
    _say(
        f"{parsed:%Y-%m-%d %H:%M} UTC: no version served"
        if served is None
        else f"{parsed:%Y-%m-%d %H:%M} UTC: version {served.version} served since {_time(served.since)}: "
        f"{served.began.action} by {served.began.actor}"
    )
    for alias, holder in then.aliases.items():
        if holder is not None:
            _say(f"{alias}: version {holder}")
    for name, arms in then.trials.items():
        _say(f"trial {name}: " + ", ".join(f"{arm} {number or 'champion'}" for arm, number in arms.items()))


def why(version: OneVersion, lake: LakeUrl = "", report: Report = None) -> None:
    """Tell of a version: its training, the gate's decision, its moves, and what came of it."""
    from lastaisle.release.decision_table import COLUMNS, rows_of
    from lastaisle.release.history import tell

    _, tables, registry = open_stores(lake)
    story = tell(version, tables, registry.model_name, lambda: registry)
    write(story.to_dict(), report)
    _say(story.outcome)
    if story.registered is not None:
        trained = f"run {story.registered.run_id}. {story.registered.reason}"
        _say(f"registered on {_time(story.registered.moved_at)} by {story.registered.actor}: {trained}")
    line = " ← ".join(f"version {number}" for number in story.line)
    _say(f"learned on from {line}" if line else "learned from scratch, as far as the tables know")
    if story.checks:
        table = Table(*COLUMNS, title=f"the gate's decision: {story.verdict}")
        for rule, value, threshold, verdict, reason in rows_of(story.checks):
            shown = "" if value is None else f"{value:,.4f}"
            table.add_row(rule, shown, threshold or "", verdict, Text(reason))
        console.print(table)
    _print_moves(story.moves, f"moves of version {version}")


def public_text(
    version: Annotated[str, typer.Option(help="Number of the version; default: the champion.")] = "",
    html: Annotated[bool, typer.Option("--html", help="Write a page instead of Markdown.")] = False,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="File to write to; default: standard output.", callback=writable),
    ] = None,
    lake: LakeUrl = "",
) -> None:
    """Write the text for the public of a version: what it learned from, what decides, how to switch it off.

    Each version also has the text as artifacts of its run, as it was at the release: public/public.md and
    public/public.html. This command writes it by the present settings and contracts.
    """
    from lastaisle.errors import RegistryError
    from lastaisle.registry.ledger import Ledger
    from lastaisle.release.public.log import facts_of, public_page
    from lastaisle.release.public.text import public_text as as_markdown

    _, tables, registry = open_stores(lake)
    chosen = version or Ledger(tables, registry.model_name).standing().champion
    if chosen is None:
        raise RegistryError(f"{registry.model_name} has no champion: name a version by --version")
    facts = facts_of(chosen, registry)
    written = public_page(facts) if html else as_markdown(facts)
    if to is None:
        _say(written)
    else:
        to.write_text(written, encoding="utf-8")
        _say(f"the text of version {chosen} is written to {to}")


def _print_moves(moves: Sequence[Move], title: str) -> None:
    table = Table("time (UTC)", "action", "alias", "from", "to", "actor", "reason", title=Text(title))
    for move in moves:
        cells = (move.action, move.alias, move.from_version or "-", move.to_version or "-", move.actor)
        table.add_row(_time(move.moved_at, ""), *(Text(cell) for cell in (*cells, move.reason)))
    console.print(table)


def _time(moment: datetime, zone: str = " UTC") -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}{zone}"


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def sync(
    dry_run: Annotated[bool, typer.Option(help="Only show what is lost; change nothing.")] = True,
    artifacts_gone: Annotated[
        bool,
        typer.Option("--artifacts-gone", help="MLflow's whole folder of artifacts is deleted, for good."),
    ] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Name the versions that are gone from MLflow, and set the aliases to the versions that are left."""
    from lastaisle.release.sync import sync as run

    _, tables, registry = open_stores(lake)
    found: dict[str, Any] = run(tables, registry, dry_run=dry_run, artifacts_gone=artifacts_gone).to_dict()
    show(found, report)


def prune(
    dry_run: Annotated[bool, typer.Option(help="Only show what would be deleted.")] = True,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Delete the versions that no alias, no experiment and no newer row of the ledger names."""
    from lastaisle.release.prune import prune as run

    settings, tables, registry = open_stores(lake)
    days = settings.registry.keep_versions_days
    found = run(tables, registry, days=days, dry_run=dry_run)
    write(found.to_dict(), report)
    for version, reason in found.kept.items():
        _say(f"version {version} is kept: {reason}")
    done = "would be deleted" if dry_run else "deleted"
    _say(f"{done}: {', '.join(f'version {version}' for version in found.pruned) or 'no version'}")


def verify(
    version: Annotated[
        str, typer.Option(help="Only this version; default: all versions with an alias, and the ledger.")
    ] = "",
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Compare the files of the versions with their digests in the ledger, and the ledger with its chain."""
    from lastaisle.registry.ledger import Ledger
    from lastaisle.release.verify import require_whole_ledger
    from lastaisle.release.verify import verify as run

    _, tables, registry = open_stores(lake)
    found, chain = run(tables, registry, version or None), Ledger(tables, registry.model_name).check()
    write(
        {"versions": [dataclasses.asdict(one) for one in found], "ledger": dataclasses.asdict(chain)}, report
    )
    for one in found:
        said = one.reason or f"digest {one.received}" + (
            f", but {one.recorded_in} has {one.expected}" if not one.may_serve else ""
        )
        named = f"version {one.version}" + (f" ({', '.join(one.aliases)})" if one.aliases else "")
        _say(f"{named}: {one.outcome}: {said}")
    if not found:
        _say(f"{registry.model_name} has no version with an alias")
    if not version and not chain.broken:
        _say(f"ledger: whole: {chain.entries} entries, {chain.unchained} of older releases; end {chain.end}")
    if not version:  # the digests of the versions are worth as much as the ledger that holds them
        require_whole_ledger(chain, tables.url)
    if not all(one.may_serve for one in found):
        raise typer.Exit(ExitCode.MODEL_DAMAGED)
