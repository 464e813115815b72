"""Commands around the logs: the lag of topics, and the collector.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from lastaisle.cli.options import Host, LakeUrl, Report
from lastaisle.cli.terminal import announce, console, read_settings, write
from lastaisle.kafka.address import parse_source
from lastaisle.kafka.connection import KafkaConnection


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
    host: Host = "127.0.0.1",
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
