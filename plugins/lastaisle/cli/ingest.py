"""The command that takes in logs, from files or from Kafka topics, and guesses a first mapping for them.

Imports stand inside the functions, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lastaisle.cli.ingested import show_ingested
from lastaisle.cli.options import AcceptSchemaChange, LakeUrl, LogFormat, Report, Settle, in_reach
from lastaisle.cli.terminal import bar, console, read_settings
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
    settle: Settle = 0.0,
    accept_schema_change: AcceptSchemaChange = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Ingest session logs: validate, quarantine, deduplicate, anonymize.

    A kafka:// source gives all messages that wait now; LASTAISLE_KAFKA holds the settings of the cluster.
    """
    from lastaisle.ingest.options import IngestOptions

    if guess:
        _guess(guess, out)
        return
    settings = _with_form(read_settings(lake), log_format, mapping)
    place = _place(source, at, settings)
    options = IngestOptions.from_settings(settings, accept_schema_change=accept_schema_change)
    ingested = _ingest(place, settings, options, timedelta(seconds=settle))
    show_ingested(ingested, report, "lastaisle train")


def _ingest(source: str, settings: Settings, options: IngestOptions, settle: timedelta) -> IngestReport:
    """Ingest a place of files or the topics of a Kafka source, with a progress bar."""
    from data_contracts.contract import load_contract
    from lastaisle.ingest.mapping.choice import chosen_adapter
    from lastaisle.ingest.run import ingest as run
    from lastaisle.lake.opening import open_lake
    from lastaisle.lake.tables import RAW_EVENTS
    from lastaisle.privacy.keys import PseudonymKeys

    contract = load_contract(RAW_EVENTS)
    form = chosen_adapter(settings, contract)
    keys = PseudonymKeys.load_or_create(settings.privacy.key_file, lake_url=settings.lake.url)
    tables = open_lake(settings)
    with bar("Ingesting") as progress:
        if is_kafka(source):
            return _drain(source, form, tables, keys, options, progress)
        return run(
            *(source, form, tables, keys),
            contract=contract,
            options=options,
            settle=settle,
            progress=progress,
        )


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
