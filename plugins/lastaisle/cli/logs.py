"""Commands around the logs: the lag of topics, the collector, the simulated shop.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lastaisle.cli.options import LakeUrl, Report, in_reach, writable
from lastaisle.cli.terminal import announce, bar, console, read_settings, show, write
from lastaisle.kafka.address import parse_source
from lastaisle.kafka.connection import KafkaConnection

if TYPE_CHECKING:
    pass


def lag(
    source: Annotated[
        str, typer.Option("--source", help="kafka://cluster/topic[,topic...]; default: LASTAISLE_SOURCE.")
    ] = "",
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Show how far ingestion is behind its topics, in messages and in time, for each partition.

    LASTAISLE_KAFKA holds the cluster's settings.
    """
    from lastaisle.ingest.kafka.client import watermarks
    from lastaisle.ingest.kafka.lag import measure_lag
    from lastaisle.ingest.kafka.progress import committed_offsets
    from lastaisle.lake.opening import open_lake

    settings = read_settings(lake)
    topics = parse_source(source or settings.sources.address).topics
    connection = KafkaConnection.from_env()
    committed = committed_offsets(open_lake(settings), watermarks(connection, topics))
    partitions = measure_lag(connection, topics, committed)
    total = sum(partition.lag for partition in partitions)
    write({"lag": total, "partitions": [asdict(partition) for partition in partitions]}, report)
    table = Table(*("topic", "partition", "ingested to", "end", "lag", "oldest", "lost"))
    for partition in partitions:
        committed_to = "-" if partition.committed is None else f"{partition.committed:,}"
        seconds = partition.oldest_seconds
        age = "-" if seconds is None else str(timedelta(seconds=round(seconds)))
        numbers = (committed_to, f"{partition.end:,}", f"{partition.lag:,}", age, f"{partition.lost:,}")
        table.add_row(partition.topic, str(partition.partition), *numbers)
    console.print(table)
    console.print(f"{total:,} messages wait")


def collect(
    to: Annotated[
        str,
        typer.Option(help="Landing folder, or kafka://cluster/topic; default: LASTAISLE_SOURCE."),
    ] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 is any free port.", min=0, max=65535)
    ] = 8090,
) -> None:
    """Collect events that Segment's clients and its webhook send over HTTP, until SIGTERM.

    LASTAISLE_SEGMENT_WRITE_KEYS names the keys that may send to /v1/batch, /v1/track and the like;
    LASTAISLE_SEGMENT_KEY_FILE is a file of such keys. LASTAISLE_SEGMENT_SECRET is the secret with
    which Segment signs /segment/webhook. The answer 200 says that the events are durable in the folder or
    topic. Ingestion reads them with the format segment.
    """
    from lastaisle.collect.serve import serve

    settings = read_settings()
    serve(settings.replace(source=to) if to else settings, host, port, announce)


def simulate(
    out: Annotated[Path, typer.Option(help="Folder for the logs; it gets one folder for each day.")],
    days: Annotated[int, typer.Option(help="How many days.")] = 7,
    start: Annotated[
        datetime, typer.Option(help="First day.", formats=["%Y-%m-%d"], callback=in_reach)
    ] = datetime(2025, 10, 1),
    sessions_per_day: Annotated[int, typer.Option(help="Shoppers' sessions on an average day.")] = 3000,
    items: Annotated[int, typer.Option(help="Items in the catalogue at the start.")] = 2000,
    eventful: Annotated[
        bool, typer.Option(help="Add a launch, a price shock and a change of tastes.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    catalogue: Annotated[
        Path | None,
        typer.Option(help="Also write the catalogue's history to this file (JSON Lines).", callback=writable),
    ] = None,
    report: Report = None,
) -> None:
    """Write the logs of a simulated shop; the report holds the true counts."""
    from lastaisle.simulate import ShopOptions, write_logs

    options = ShopOptions(
        seed=seed,
        start=start.date(),
        days=days,
        sessions_per_day=sessions_per_day,
        items=items,
        eventful=eventful,
    )
    with bar("Simulating") as progress:

        def show_day(day: date, _: object) -> None:
            progress(((day - options.start).days + 1) / days, f"Simulating {day}")

        written = write_logs(out, options, show_day, catalogue=catalogue).as_dict()
    write(written, report)
    show({name: value for name, value in written.items() if name not in ("days", "files")}, None)
