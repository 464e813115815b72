"""The row of a batch in the table batches, and the report that the row gives back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.ingest.job import Batch, Ingestion
from lastaisle.ingest.report import ROW_COUNTS, BatchReport
from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES, BATCHES_SCHEMA


def read_batch(lake: Lake, batch_id: str) -> BatchReport | None:
    """Return the report of a batch that the table batches holds; None for any other batch."""
    if not lake.has(BATCHES, batch_id):
        return None
    return _from_row(lake.scan(BATCHES, where=pc.field("batch_id") == batch_id).to_pylist()[0])


def batch_row(report: BatchReport, batch: Batch, job: Ingestion, now: datetime, took: timedelta) -> pa.Table:
    """Return the row of the table batches for a batch that began at `now` and took so long."""
    row = {name: getattr(report, name) for name in ROW_COUNTS} | {
        "batch_id": report.batch_id,
        "source": batch.source,
        "source_file": report.source_file,
        "part": batch.part,
        "format": report.format,
        "quarantined_by_rule": json.dumps(report.quarantined_by_rule, sort_keys=True),
        "ignored_by_reason": json.dumps(report.ignored_by_reason),
        "fields": json.dumps(report.fields, sort_keys=True),
        "change_accepted": job.options.accept_schema_change,
        "hours": list(report.hours),
        "newest": report.newest,
        "shards": job.options.shards if job.keys is None else 1,
        "gx_success": report.gx_success,
        "gx_problem": report.gx_problem or None,
        "contract_version": job.contract.version,
        "started_at": now,
        "finished_at": now + took,
    }
    return pa.Table.from_pylist([row], schema=BATCHES_SCHEMA)


def _from_row(row: Mapping[str, Any]) -> BatchReport:
    """Return the report of a row; an older lake may lack columns that were added later."""
    counts: dict[str, Any] = {name: row.get(name) or 0 for name in ROW_COUNTS}
    return BatchReport(
        row["batch_id"],
        row["source_file"],
        row["format"],
        **counts,
        quarantined_by_rule=json.loads(row["quarantined_by_rule"]),
        ignored_by_reason=json.loads(row.get("ignored_by_reason") or "{}"),
        gx_success=row["gx_success"],
        gx_problem=row.get("gx_problem") or "",
        part=row["part"] or 0,
        hours=tuple(row["hours"] or ()),
        newest=row["newest"],
        fields=json.loads(row["fields"] or "{}"),
    )
