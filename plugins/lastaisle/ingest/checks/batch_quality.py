"""The rules about a batch as a whole, judged over its sound rows before anything is committed."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq

from data_contracts.quality.batch_rules import BatchRule
from data_contracts.quality.sql_rules import measure
from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.ingest.staging.staging import Staging
from lastaisle.ingest.staging.staging_sql import SOUND
from lastaisle.telemetry.stages import stage

log = logging.getLogger(__name__)


class BatchRefusedError(LastaisleError):
    """A batch breaks a rule about the batch as a whole; nothing of the batch was committed."""

    exit_code = ExitCode.BATCH_REFUSED


def judge_batch(staging: Staging, where: str) -> dict[str, int]:
    """Judge the sound rows of a batch by every rule about the batch as a whole.

    Rows that were read before count, too. So a batch that is read again is judged as it was at first.

    Args:
        staging: holds the rows and the verdicts of the rules of a row.
        where: the file, for messages.

    Returns:
        The rules of severity warning that the batch breaks, each counted once.

    Raises:
        BatchRefusedError: the batch breaks a rule of severity error. The message names every such rule, the
            number and the limits.
    """
    rules = staging.contract.batch_rules
    if not rules:
        return {}
    with stage("judge the batch as a whole"):
        rows = staging.count(f"staged WHERE {SOUND}")
        measured = _measure(staging, [rule for rule in rules if not rule.is_query])
        measured |= _query(staging, [rule for rule in rules if rule.is_query], where)
    judged = [(rule, rule.problem(measured[rule.name], rows)) for rule in rules]
    broken = [(rule, problem) for rule, problem in judged if problem]
    refused = [problem for rule, problem in broken if rule.severity == "error"]
    if refused:
        raise BatchRefusedError(
            f"{where}: the batch of {rows} sound rows breaks {'; '.join(refused)}. Nothing of the batch was "
            f"committed. Correct the source, or the rule in {staging.contract.path}, and ingest it again"
        )
    for _, problem in broken:
        log.warning("%s: the batch breaks a rule that only warns: %s", where, problem)
    return {rule.name: 1 for rule, _ in broken}


def _measure(staging: Staging, rules: list[BatchRule]) -> dict[str, Any]:
    """Measure the aggregates of our own SQL, all in one pass."""
    if not rules:
        return {}
    measures = ", ".join(rule.measure for rule in rules)
    found = staging.connection.execute(f"SELECT {measures} FROM staged WHERE {SOUND}").fetchall()[0]
    return dict(zip((rule.name for rule in rules), found, strict=True))


def _query(staging: Staging, rules: list[BatchRule], where: str) -> dict[str, Any]:
    """Run the queries of the contract's author, each in a database that holds nothing but the sound rows.

    Raises:
        BatchRefusedError: DuckDB refuses a query on these rows, as a division of a text.
    """
    if not rules:
        return {}
    measured = {}
    with _sound_rows(staging) as rows:
        for rule in rules:
            try:
                measured[rule.name] = measure(rule.measure, staging.contract.name, rows)
            except ValueError as error:
                raise BatchRefusedError(
                    f"{where}: {rule.name}: {error}. Nothing of the batch was committed. Correct "
                    f"the query in {staging.contract.path}"
                ) from error
    return measured


@contextmanager
def _sound_rows(staging: Staging) -> Iterator[ds.Dataset]:
    """Write the sound rows to a temporary file, so that several queries read them without memory for them."""
    columns = ", ".join(staging.names)
    reader = staging.connection.sql(f"SELECT {columns} FROM staged WHERE {SOUND}").to_arrow_reader(65_536)
    with tempfile.TemporaryDirectory(prefix="lastaisle-") as folder:
        path = Path(folder) / "rows.parquet"
        with pq.ParquetWriter(path, reader.schema) as writer:
            for rows in reader:
                writer.write_batch(rows)
        yield ds.dataset(path)
