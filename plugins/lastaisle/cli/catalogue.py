"""Commands around the catalogue: take it in, and show it.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lastaisle.cli.ingested import show_ingested
from lastaisle.cli.options import AcceptSchemaChange, LakeUrl, Report, Settle, in_reach
from lastaisle.cli.terminal import bar, console, read_settings, show, write
from lastaisle.errors import NotEnoughDataError
from lastaisle.kafka.address import is_kafka, parse_source
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.settings.settings import address_at

if TYPE_CHECKING:
    import pyarrow as pa

    from lastaisle.catalogue.job import CatalogueJob
    from lastaisle.catalogue.report import CatalogueReport

_COLUMNS = ("item_id", "title", "category", "brand", "price", "currency", "available", "valid_from")


def ingest(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[FILE]",
            help="File, folder, pattern, URL, or kafka://cluster/topic; default: LASTAISLE_CATALOGUE.",
        ),
    ] = "",
    feed_format: Annotated[
        str,
        typer.Option("--format", help="items or google_merchant; default: LASTAISLE_CATALOGUE_FORMAT."),
    ] = "",
    content: Annotated[
        str,
        typer.Option(
            help="full: each file lists the whole catalogue; changes: only the items that changed; "
            "default: LASTAISLE_CATALOGUE_CONTENT."
        ),
    ] = "",
    settle: Settle = 0.0,
    accept_removals: Annotated[
        bool,
        typer.Option("--accept-removals", help="Let a full file remove any share of the items for sale."),
    ] = False,
    accept_schema_change: AcceptSchemaChange = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Ingest the shop's catalogue: validate, quarantine, and keep the history of each item.

    A kafka:// source gives all changes that wait now; LASTAISLE_KAFKA holds the settings of the cluster.
    """
    from lastaisle.catalogue.job import CatalogueJob
    from lastaisle.lake.opening import open_lake

    settings = read_settings(lake)
    given = {"catalogue": source, "catalogue_format": feed_format, "catalogue_content": content}
    settings = settings.replace(**{name: value for name, value in given.items() if value})
    address = settings.catalogue.address
    if not address:
        raise typer.BadParameter(
            "name a file, or set LASTAISLE_CATALOGUE to the place of the shop's catalogue"
        )
    job = CatalogueJob.from_settings(
        settings,
        open_lake(settings),
        accept_removals=accept_removals,
        accept_schema_change=accept_schema_change,
    )
    ingested = _take_in(address, job, timedelta(seconds=settle))
    show_ingested(ingested, report, "lastaisle catalogue show")


def _take_in(address: str, job: CatalogueJob, settle: timedelta) -> CatalogueReport:
    """Take in all files, or all messages that wait, and show the progress."""
    from lastaisle.catalogue.run import ingest_catalogue
    from lastaisle.catalogue.topic import drain_catalogue

    with bar("Ingesting") as progress:
        if is_kafka(address):
            topics = parse_source(address).topics
            return drain_catalogue(topics, job, KafkaConnection.from_env(), progress=progress)
        return ingest_catalogue(address_at(address, datetime.now(UTC)), job, settle=settle, progress=progress)


def show_items(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Items to show; without any, the counts.")
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option(help="Show the catalogue as it was at this time (UTC).", callback=in_reach),
    ] = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Show what is for sale: the counts of the catalogue, or some items.

    Exits with 5 if no catalogue was ingested.
    """
    from lastaisle.catalogue.history import read_catalogue
    from lastaisle.lake.opening import open_lake

    tables = open_lake(read_settings(lake))
    moment = at.replace(tzinfo=UTC) if at else None
    listed = read_catalogue(tables, moment)
    if listed is None:
        raise NotEnoughDataError(
            f"the lake {tables.url} has no catalogue: ingest one by lastaisle catalogue ingest FILE"
        )
    if not ids:
        show(_counts(listed), report)
        return
    rows = {row["item_id"]: row for row in listed.to_pylist() if row["item_id"] in set(ids)}
    missing = [item for item in ids if item not in rows]
    write({"items": list(rows.values()), "not_listed": missing}, report)
    console.print(_table_of([rows[item] for item in dict.fromkeys(ids) if item in rows]))
    for item in missing:
        console.print(f"not in the catalogue: {item}", markup=False, highlight=False)


def _counts(listed: pa.Table) -> dict[str, Any]:
    import pyarrow.compute as pc

    newest = pc.max(listed["valid_from"]).as_py()
    return {
        "items": listed.num_rows,
        "available": pc.sum(listed["available"]).as_py() or 0,
        "sold_out": pc.sum(pc.invert(listed["available"])).as_py() or 0,
        "with_title": pc.count(listed["title"]).as_py(),
        "with_price": pc.count(listed["price"]).as_py(),
        "categories": pc.count_distinct(listed["category"]).as_py(),
        "brands": pc.count_distinct(listed["brand"]).as_py(),
        "newest_change": None if newest is None else newest.isoformat(),
    }


def _table_of(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(*_COLUMNS)
    for row in rows:
        table.add_row(*(Text("" if row[name] is None else str(row[name])) for name in _COLUMNS))
    return table
