"""Commands that look after the pseudonym keys.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import bar, console, read_settings, write

if TYPE_CHECKING:
    from lastaisle.privacy.keys import PseudonymKeys
    from lastaisle.privacy.rotate import RotationReport
    from lastaisle.settings import Settings


def show(lake: LakeUrl = "", report: Report = None) -> None:
    """Show the versions of the pseudonym key, and the events of each; never a key.

    A fingerprint tells keys apart. A key with domains gives one text unrelated pseudonyms as user, as session
    and as order; events without domains were written before there were domains.
    """
    from lastaisle.lake.opening import open_lake
    from lastaisle.privacy.domains import made_by
    from lastaisle.privacy.rotate import events_by_key

    settings = read_settings(lake)
    tables, keys = open_lake(settings), _keys(settings)
    events = events_by_key(tables)
    rows: list[dict[str, Any]] = []
    for version in sorted({*keys.versions, *events}):
        known, made = version in keys.versions, made_by(tables, version)
        rows.append(
            {
                "version": version,
                "current": version == keys.current,
                "fingerprint": keys.fingerprint(version) if known else None,
                "events": events.get(version, 0),
                "made_by": None if made is None else made.fingerprint,
                "domains": made is not None and made.separates if events.get(version) else None,
            }
        )
    write({"keys": rows}, report)
    table = Table("version", "fingerprint", "events", "made by", "domains")
    for row in rows:
        name = f"{row['version']} (current)" if row["current"] else str(row["version"])
        domains = {True: "yes", False: "no", None: ""}[row["domains"]]
        cells = (row["fingerprint"] or "not here", f"{row['events']:,}", row["made_by"] or "", domains)
        table.add_row(name, *cells)
    console.print(table)


def rotate(
    dry_run: Annotated[bool, typer.Option(help="Only show the rotation; change nothing.")] = True,
    delete_without_raw: Annotated[
        bool,
        typer.Option(
            "--delete-without-raw", help="Delete events whose raw rows are gone; they get no new pseudonym."
        ),
    ] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Make a new pseudonym key and write all events again with it (with --no-dry-run).

    Let no ingestion run meanwhile. A rotation that was killed is finished by the same command. The old
    versions of the table hold the old pseudonyms until `maintain` deletes their files.
    """
    from lastaisle.lake.opening import open_lake
    from lastaisle.privacy.rotate import rotate as run

    settings = read_settings(lake)
    tables, keys = open_lake(settings), _keys(settings)
    with bar("Rotating") as progress:
        rotation = run(
            tables, keys, dry_run=dry_run, delete_without_raw=delete_without_raw, progress=progress
        )
    write(rotation.to_dict(), report)
    console.print(_in_words(rotation), markup=False, highlight=False, soft_wrap=True)


def _keys(settings: Settings) -> PseudonymKeys:
    """Read the keys; a command that looks after keys makes no first key."""
    from lastaisle.privacy.keys import KeyFileError, PseudonymKeys

    keys = PseudonymKeys.load(settings.privacy.key_file, lake_url=settings.lake.url)
    if keys is None:
        raise KeyFileError(
            f"there is no pseudonym key in {settings.privacy.key_file}: the first ingestion makes it"
        )
    return keys


def _in_words(rotation: RotationReport) -> str:
    before = ", ".join(f"{rows:,} of key {key}" for key, rows in rotation.events_by_key.items()) or "none"
    which = "a new key" if rotation.new_key else "the current key"
    deleted = f", {rotation.rows_deleted:,} events deleted" if rotation.rows_deleted else ""
    done = f"{rotation.rows_written:,} events with key {rotation.key_version}, {which}{deleted}"
    if rotation.dry_run:
        return f"dry run: nothing was changed. Events now: {before}. After --no-dry-run: {done}"
    return (
        f"{done}. Events before: {before}. Older versions of the table events hold the old pseudonyms until "
        "`lastaisle maintain` deletes their files. exposures, abandonments and trained models keep the old "
        "pseudonyms: see docs/guarantees.md"
    )
