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
    from collections.abc import Mapping

    from lastaisle.feedback.exposures.rotate import ExposureRotation
    from lastaisle.feedback.rotate import Rotation
    from lastaisle.privacy.keys import PseudonymKeys
    from lastaisle.settings import Settings


def show(lake: LakeUrl = "", report: Report = None) -> None:
    """Show the versions of the pseudonym key, and the events and exposures of each; never a key.

    A fingerprint tells keys apart. A key with domains gives one text unrelated pseudonyms as user, as session
    and as order; events without domains were written before there were domains.
    """
    from lastaisle.lake.opening import open_lake
    from lastaisle.lake.tables import EVENTS, EXPOSURES
    from lastaisle.privacy.domains import made_by
    from lastaisle.privacy.rotate import rows_by_key

    settings = read_settings(lake)
    tables, keys = open_lake(settings), _keys(settings)
    events, exposures = rows_by_key(tables, EVENTS), rows_by_key(tables, EXPOSURES)
    rows: list[dict[str, Any]] = []
    for version in sorted({*keys.versions, *events, *exposures}):
        known, made = version in keys.versions, made_by(tables, version)
        rows.append(
            {
                "version": version,
                "current": version == keys.current,
                "fingerprint": keys.fingerprint(version) if known else None,
                "events": events.get(version, 0),
                "exposures": exposures.get(version, 0),
                "made_by": None if made is None else made.fingerprint,
                "domains": made is not None and made.separates if events.get(version) else None,
            }
        )
    write({"keys": rows}, report)
    table = Table("version", "fingerprint", "events", "exposures", "made by", "domains")
    for row in rows:
        name = f"{row['version']} (current)" if row["current"] else str(row["version"])
        domains = {True: "yes", False: "no", None: ""}[row["domains"]]
        counts = (f"{row['events']:,}", f"{row['exposures']:,}")
        table.add_row(name, row["fingerprint"] or "not here", *counts, row["made_by"] or "", domains)
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
    """Make a new pseudonym key and write all events and exposures again with it (with --no-dry-run).

    Ingest the waiting logs and feedback first, and let no ingestion run meanwhile. A rotation that was killed
    is finished by the same command. The old versions of the tables hold the old pseudonyms until `maintain`
    deletes their files.
    """
    from lastaisle.feedback.rotate import rotate_all
    from lastaisle.lake.opening import open_lake

    settings = read_settings(lake)
    tables, keys = open_lake(settings), _keys(settings)
    with bar("Rotating") as progress:
        rotation = rotate_all(
            *(tables, keys),
            dry_run=dry_run,
            delete_without_raw=delete_without_raw,
            k=settings.privacy.k_anonymity,
            progress=progress,
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


def _in_words(rotation: Rotation) -> str:
    events, exposures = rotation.events, rotation.exposures
    which = "a new key" if events.new_key else "the current key"
    deleted = f", {events.rows_deleted:,} events deleted" if events.rows_deleted else ""
    done = (
        f"{events.rows_written:,} events and {exposures.rows_written:,} exposures with key "
        f"{events.key_version}, {which}{deleted}"
    )
    before = f"{_by_key(events.events_by_key, 'events')}; {_by_key(exposures.rows_by_key, 'exposures')}"
    if events.dry_run:
        more = f"{_lost(exposures)}{_others(rotation)}"
        return f"dry run: nothing was changed. Now: {before}. After --no-dry-run: {done}{more}"
    return (
        f"{done}{_lost(exposures)}. Before: {before}. Older versions of the tables hold the old pseudonyms "
        "until `lastaisle maintain` deletes their files. `lastaisle attribute` gives outcomes the new ones. "
        f"Trained models keep the old pseudonyms: see docs/guarantees.md{_others(rotation)}"
    )


def _others(rotation: Rotation) -> str:
    """Return what happens to the consents and the abandonments."""
    return "".join(
        f". {renewal.rows_written:,} rows of {table} get new pseudonyms"
        + (f", {renewal.rows_unknown:,} that no event knows stay" if renewal.rows_unknown else "")
        for table, renewal in rotation.others.items()
        if renewal.rows_written or renewal.rows_unknown
    )


def _by_key(rows: Mapping[int, int], name: str) -> str:
    return ", ".join(f"{count:,} {name} of key {key}" for key, count in rows.items()) or f"no {name}"


def _lost(exposures: ExposureRotation) -> str:
    """Return how many pseudonyms no event knows, and on which days their rows lie."""
    if not exposures.pseudonyms_lost:
        return ""
    counts = " and ".join(f"{count:,} of {name}" for name, count in exposures.pseudonyms_lost.items())
    days = sorted(exposures.rows_lost_by_day)
    gone = (
        "; maintenance deleted versions of events that earlier rotations replaced"
        if exposures.versions_gone
        else ""
    )
    return (
        f". No event knows the pseudonyms {counts} in {sum(exposures.rows_lost_by_day.values()):,} exposures "
        f"from {days[0]} to {days[-1]}, so they become empty{gone}"
    )
