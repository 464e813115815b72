"""Notice a change of a source's fields before its rows fill quarantine or lose a column unnoticed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import pyarrow.compute as pc

from data_contracts.contract import Contract
from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.ingest.job import Batch
from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES
from lastaisle.telemetry.shown import one_line, reads_like_name

BATCHES_BEFORE = 20
ENOUGH_ROWS = 100
"""Fewer rows than this, before or now, prove nothing about a field."""
UNKNOWN_FIELDS = 20
"""The most unknown fields that a report lists: a shop may use ids as field names."""
ANOTHER_FIELD = "another field"


class SchemaChangeError(LastaisleError):
    """The source changed its fields; nothing was committed."""

    exit_code = ExitCode.BREAKING_CHANGE


def refuse_changed_fields(
    lake: Lake,
    batch: Batch,
    contract: Contract,
    fields: Mapping[str, int],
    *,
    table: str = BATCHES,
    may_end: Collection[str] = (),
) -> None:
    """Compare a batch with the newest batches of its source under the same version of the contract.

    A field was removed if at least half of the earlier rows had it and no row has it now. A field changed its
    type if at least half of the rows with the field have the wrong type now, but not before. New fields pass.

    Args:
        lake: holds the table of the batches.
        batch: the batch to compare.
        contract: the contract of the rows.
        fields: from `Staging.count_fields`.
        table: the table of the batches.
        may_end: fields that may end without a change of the source, such as that of an experiment.

    Raises:
        SchemaChangeError: fields changed; the message names each field with its counts before and now.
    """
    rows = fields["rows"]
    if rows < ENOUGH_ROWS:
        return
    before = _before(lake, table, batch.source, contract.version)
    changes = []
    for field in contract.fields:
        now, was = fields.get(field.name, 0), before[field.name]
        broken, was_broken = fields.get(f"{field.name}_broken", 0), before[f"{field.name}_broken"]
        can_be_gone = before["rows"] >= ENOUGH_ROWS and field.name not in may_end
        if can_be_gone and not now and was * 2 >= before["rows"]:
            changes.append(f"{field.name} is gone ({was} of {before['rows']} rows had it, 0 of {rows} now)")
        elif now >= ENOUGH_ROWS and broken * 2 >= now and was_broken * 2 < max(was, 1):
            changes.append(f"{field.name} is no {field.logical_type} in {broken} of the {now} rows with it")
    if changes:
        raise SchemaChangeError(
            f"{batch.shown}: {one_line(batch.source)} changed its fields: {'; '.join(changes)}. Nothing was "
            f"committed. If the change is meant, raise the version in {contract.path.name} with the change "
            "(lastaisle contracts diff says whether it breaks), or ingest once with --accept-schema-change; "
            "if not, mend the source"
        )


def unknown_fields(lines: Iterable[str], known: Collection[str]) -> dict[str, int]:
    """Count the unknown names on the top level of JSON objects.

    A text that does not read like a name may be a value, such as an address, and counts as `ANOTHER_FIELD`.

    Args:
        lines: some lines of a batch. Lines that are no JSON object are left to the rules.
        known: the names that the contract has.
    """
    counts = Counter(shown_name(name) for name, _ in unknown_values(lines, known))
    return dict(counts.most_common(UNKNOWN_FIELDS))


def unknown_values(lines: Iterable[str], known: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Yield the unknown names on the top level of JSON objects, each with its value."""
    for line in lines:
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            yield from ((name, value) for name, value in document.items() if name not in known)


def shown_name(name: str) -> str:
    """Return the name of an unknown field if it reads like a name, else `ANOTHER_FIELD`."""
    return name if reads_like_name(name) else ANOTHER_FIELD


def _before(lake: Lake, table: str, source: str, contract_version: str) -> Counter[str]:
    """Add up the field counts of the source's newest batches, back to a batch whose change was accepted."""
    same = (pc.field("source") == source) & (pc.field("contract_version") == contract_version)
    total: Counter[str] = Counter()
    batches = lake.scan(table, where=same) if lake.table(table) else None
    if batches is not None:
        for row in batches.sort_by([("finished_at", "descending")]).slice(0, BATCHES_BEFORE).to_pylist():
            total.update(json.loads(row["fields"] or "{}"))
            if row.get("change_accepted"):
                break
    return total
