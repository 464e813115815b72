"""Read the events of OpenLineage that tasks wrote, and follow them from a version back to its files."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

Event = dict[str, Any]
Named = tuple[str, str]


def events_of(home: Path) -> list[Event]:
    """Return all events, checked against what OpenLineage's schema asks of an event of a run."""
    lines = [
        line for file in sorted((home / "lineage").glob("*.jsonl")) for line in file.read_text().splitlines()
    ]
    events = [json.loads(line) for line in lines]
    for event in events:
        assert event["eventType"] in ("START", "RUNNING", "COMPLETE", "FAIL", "ABORT", "OTHER")
        assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
        assert event["schemaURL"].startswith("https://openlineage.io/spec/")
        assert event["producer"].startswith("https://")
        assert str(UUID(event["run"]["runId"])) == event["run"]["runId"]
        facets = [*event["run"]["facets"].values(), *event["job"]["facets"].values()]
        for dataset in (*event["inputs"], *event["outputs"]):
            assert dataset["namespace"] and dataset["name"]
            facets += dataset["facets"].values()
        assert all({"_producer", "_schemaURL"} <= set(facet) for facet in facets)
    return events


def upstream(events: list[Event], start: Named) -> set[Named]:
    """Return all data from which some data came, over all tasks."""
    found, waiting = set[Named](), {start}
    while waiting:
        present = waiting.pop()
        found.add(present)
        for event in events:
            if present in map(_named, event["outputs"]):
                waiting |= set(map(_named, event["inputs"])) - found
    return found - {start}


def _named(dataset: Event) -> Named:
    return dataset["namespace"], dataset["name"]
