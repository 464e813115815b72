"""What each task reads and writes, for the lineage of its data.

Each function tells what one task has done, after the task did it. Without OpenLineage, the functions do
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lastaisle.kafka.address import is_kafka, parse_source
from lastaisle.settings import Settings
from lastaisle.settings.settings import address_at
from lastaisle_airflow.runtime.lineage import Flow, alias, files_of, run, tables, tell, topics_of, version
from lastaisle_airflow.runtime.stores import open_lake

# Functions import the pipeline inside: nothing heavy may be loaded before a worker forks.


def tell_ingested(chain: Sequence[Mapping[str, Any]]) -> None:
    """Tell that the files or the messages of a chain of logs became raw events, or went to quarantine."""

    def flow() -> Flow:
        from lastaisle.lake.tables import QUARANTINE, RAW_EVENTS

        settings = Settings.from_env()
        topics = [batch["topic"] for batch in chain if "topic" in batch]
        files = [batch["url"] for batch in chain if "url" in batch]
        read = topics_of(settings.sources.address, topics) if topics else files_of(files)
        return Flow(read, tables(open_lake(settings), RAW_EVENTS, QUARANTINE))

    tell(flow)


def tell_anonymized() -> None:
    """Tell that raw events became events."""

    def flow() -> Flow:
        from lastaisle.lake.tables import EVENTS, RAW_EVENTS

        lake = open_lake(Settings.from_env())
        return Flow(tables(lake, RAW_EVENTS), tables(lake, EVENTS))

    tell(flow)


def tell_exposures(chain: Mapping[str, Any]) -> None:
    """Tell that the files or the messages of a chain became exposures."""

    def flow() -> Flow:
        from lastaisle.lake.tables import EXPOSURES

        topics = [span["topic"] for span in chain.get("ranges", ())]
        read = topics_of(chain["address"], topics) if topics else files_of(chain["urls"])
        return Flow(read, tables(open_lake(Settings.from_env()), EXPOSURES))

    tell(flow)


def tell_catalogue() -> None:
    """Tell that the place, or the topics, of the catalogue became items."""

    def flow() -> Flow:
        from lastaisle.lake.tables import ITEMS

        settings = Settings.from_env()
        address = settings.catalogue.address
        if is_kafka(address):
            read = topics_of(address, parse_source(address).topics)
        else:
            read = files_of([address_at(address, datetime.now(UTC))])
        return Flow(read, tables(open_lake(settings), ITEMS))

    tell(flow)


def tell_attributed() -> None:
    """Tell that exposures and events became outcomes."""

    def flow() -> Flow:
        from lastaisle.lake.tables import EVENTS, EXPOSURES, OUTCOMES, UNATTRIBUTED

        lake = open_lake(Settings.from_env())
        return Flow(tables(lake, EXPOSURES, EVENTS), tables(lake, OUTCOMES, UNATTRIBUTED))

    tell(flow)


def tell_counted() -> None:
    """Tell that outcomes and events became the shop's figures."""

    def flow() -> Flow:
        from lastaisle.lake.tables import EVENTS, OUTCOMES, SHOP_METRICS

        lake = open_lake(Settings.from_env())
        return Flow(tables(lake, OUTCOMES, EVENTS), tables(lake, SHOP_METRICS))

    tell(flow)


def tell_trained(planned: Mapping[str, Any], run_id: str) -> None:
    """Tell that a run of MLflow learned from the tables of its plan, at the versions that the plan names."""

    def flow() -> Flow:
        settings, versions = Settings.from_env(), planned["lake_versions"]
        return Flow(tables(open_lake(settings), *versions, versions=versions), [run(settings, run_id)])

    tell(flow)


def tell_registered(run_id: str, number: str) -> None:
    """Tell that a run of MLflow became a version of the registered model."""
    settings = Settings.from_env()
    tell(lambda: Flow([run(settings, run_id)], [version(settings, number)]))


def tell_served(number: str) -> None:
    """Tell that a version became champion, so that services load it."""
    settings = Settings.from_env()
    tell(lambda: Flow([version(settings, number)], [alias(settings, "champion", number)]))
