"""Commands that take logs in: from files, from Kafka topics, over HTTP, or from a simulated shop.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lastaisle.cli.options import LakeUrl, LogFormat, Report, at_most_a_year, in_reach
from lastaisle.cli.terminal import bar, console, read_settings, show, write
from lastaisle.kafka.address import is_kafka, parse_source
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.settings.settings import PLACEHOLDERS

if TYPE_CHECKING:
    from lastaisle.ingest.options import IngestOptions
    from lastaisle.ingest.report import IngestReport
    from lastaisle.ingest.sources import Adapter
    from lastaisle.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys
    from lastaisle.settings import Settings


def ingest(
    source: Annotated[
        str,
        typer.Option(
            "--source",
            help="File, folder, pattern, URL, or kafka://cluster/topic; default: LASTAISLE_SOURCE.",
        ),
    ] = "",
    log_format: LogFormat = "",
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="YAML file that maps the shop's own logs to events, in place of --format; "
            "default: LASTAISLE_SOURCE_MAPPING."
        ),
    ] = None,
    guess: Annotated[
        str,
        typer.Option(help="Write a first mapping for this file to --out or the terminal; ingest nothing."),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="File for the guessed mapping.")] = None,
    at: Annotated[
        datetime | None,
        typer.Option(
            help="The day or hour (UTC) that {day} or {hour} in the source stand for.", callback=in_reach
        ),
    ] = None,
    settle: Annotated[
        float,
        typer.Option(
            help="Leave files that changed in the last SETTLE seconds for the next run.",
            callback=at_most_a_year,
        ),
    ] = 0.0,
    accept_schema_change: Annotated[
        bool,
        typer.Option("--accept-schema-change", help="Accept fields that vanished or changed their type."),
    ] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Ingest session logs: validate, quarantine, deduplicate, anonymize.

    A kafka:// source gives all messages that wait now; LASTAISLE_KAFKA holds the settings of the cluster.
    """
    from data_contracts.contract import load_contract
    from lastaisle.ingest.mapping.choice import chosen_adapter
    from lastaisle.ingest.options import IngestOptions
    from lastaisle.ingest.run import ingest as run
    from lastaisle.lake.opening import open_lake
    from lastaisle.lake.tables import RAW_EVENTS
    from lastaisle.privacy.keys import PseudonymKeys

    if guess:
        _guess(guess, out)
        return
    settings = _with_form(read_settings(lake), log_format, mapping)
    source = _place(source, at, settings)
    contract = load_contract(RAW_EVENTS)
    form = chosen_adapter(settings, contract)
    keys = PseudonymKeys.load_or_create(settings.privacy.key_file, lake_url=settings.lake.url)
    options = IngestOptions.from_settings(settings, accept_schema_change=accept_schema_change)
    tables = open_lake(settings)
    with bar("Ingesting") as progress:
        if is_kafka(source):
            ingested = _drain(source, form, tables, keys, options, progress).to_dict()
        else:
            growing = timedelta(seconds=settle)
            ingested = run(
                *(source, form, tables, keys),
                contract=contract,
                options=options,
                settle=growing,
                progress=progress,
            ).to_dict()
    show(ingested, report)
    if ingested["files_failed"]:
        raise typer.Exit(ingested["exit_code"])


def _with_form(settings: Settings, log_format: str, mapping: Path | None) -> Settings:
    """Return the settings with the format or the mapping that the command line names.

    Raises:
        typer.BadParameter: it names both.
    """
    if log_format and mapping:
        raise typer.BadParameter(f"name --format {log_format} or --mapping {mapping}, not both")
    if mapping:
        return settings.replace(source_mapping=str(mapping), source_format="canonical")
    return settings.replace(source_format=log_format, source_mapping="") if log_format else settings


def _guess(file: str, out: Path | None) -> None:
    """Write a first mapping for a file, or name the packaged format that reads the file."""
    from lastaisle.ingest.guess import guess_format
    from lastaisle.ingest.mapping.guess.guess import first_lines, guess_mapping

    lines = first_lines(file)
    if known := guess_format(lines):
        console.print(
            f"the lines look like {known}, which needs no mapping: "
            f"lastaisle ingest --source {file} --format {known}",
            soft_wrap=True,
            markup=False,
        )
        return
    text = guess_mapping(file, lines)
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    console.print(
        f"wrote {out}; read it, fill in the lines that are marked, then: "
        f"lastaisle ingest --source {file} --mapping {out}",
        soft_wrap=True,
        markup=False,
    )


def _place(source: str, at: datetime | None, settings: Settings) -> str:
    """Return the place of the logs, with the placeholders filled in.

    Raises:
        typer.BadParameter: the source has a placeholder, and no time was given.
    """
    named = settings.replace(source=source) if source else settings
    address = named.sources.address
    placeholders = [name for name in PLACEHOLDERS if name in address]
    if placeholders and at is None:
        raise typer.BadParameter(
            f"the source {address} has {', '.join(placeholders)}: name the day or the hour by --at, "
            "such as --at 2025-10-09, or a whole place by --source"
        )
    return address if at is None else named.source_at(at.replace(tzinfo=UTC))


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


def _drain(
    source: str,
    form: Adapter,
    lake: Lake,
    keys: PseudonymKeys,
    options: IngestOptions,
    progress: Callable[[float, str], None],
) -> IngestReport:
    from data_contracts.contract import load_contract
    from lastaisle.ingest.job import Ingestion
    from lastaisle.ingest.kafka.drain import Drain, drain
    from lastaisle.ingest.kafka.payloads import Decoder
    from lastaisle.lake.tables import EVENTS, RAW_EVENTS

    topics = parse_source(source).topics
    contract = load_contract(RAW_EVENTS)
    job = Ingestion(lake, form, contract, options, keys, load_contract(EVENTS))
    settings = Drain(KafkaConnection.from_env(), job, Decoder(contract.version))
    return drain(topics, settings, progress=progress)


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
    serve(settings.replace(source=to) if to else settings, host, port, _announce)


def _announce(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


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

        written = write_logs(out, options, show_day).as_dict()
    write(written, report)
    show({name: value for name, value in written.items() if name not in ("days", "files")}, None)
