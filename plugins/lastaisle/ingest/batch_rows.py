"""The row of a batch in a table of batches, and the report that the row gives back."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.ingest.report import BatchReport
from lastaisle.lake import Lake

if TYPE_CHECKING:
    from lastaisle.ingest.job import Batch, Job

ReportT = TypeVar("ReportT", bound=BatchReport)
#: The columns that hold JSON.
_JSON: Final = ("quarantined_by_rule", "ignored_by_reason", "fields", "personal_data")


def read_report(lake: Lake, table: str, batch_id: str, kind: type[ReportT]) -> ReportT | None:
    """Return the report of a batch that a table of batches holds; None for any other batch.

    An older lake may lack columns that were added later; then the report has its default.
    """
    if not lake.has(table, batch_id):
        return None
    row = lake.scan(table, where=pc.field("batch_id") == batch_id).to_pylist()[0]
    given: dict[str, Any] = {
        entry.name: row[entry.name] for entry in fields(kind) if row.get(entry.name) is not None
    }
    given |= {name: json.loads(row.get(name) or "{}") for name in _JSON}
    given["hours"] = tuple(row.get("hours") or ())
    return kind(**given)


def batch_row(
    report: BatchReport,
    batch: Batch,
    job: Job,
    schema: pa.Schema,
    times: tuple[datetime, datetime],
    **more: Any,
) -> pa.Table:
    """Return the row of a batch.

    Args:
        report: the counts.
        batch: the batch.
        job: the settings of the ingestion.
        schema: the columns of the table of the batches.
        times: the beginning and the end of the batch.
        **more: the values of further columns.
    """
    row: dict[str, Any] = {name: getattr(report, name) for name in schema.names if hasattr(report, name)}
    row |= {
        "source": batch.source,
        "quarantined_by_rule": json.dumps(report.quarantined_by_rule, sort_keys=True),
        "ignored_by_reason": json.dumps(report.ignored_by_reason),
        "fields": json.dumps(report.fields, sort_keys=True),
        "personal_data": json.dumps(report.personal_data, sort_keys=True),
        "change_accepted": job.options.accept_schema_change,
        "hours": list(report.hours),
        "gx_problem": report.gx_problem or None,
        "contract_version": job.contract.version,
        "started_at": times[0],
        "finished_at": times[1],
    }
    row |= more
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names}], schema=schema)
