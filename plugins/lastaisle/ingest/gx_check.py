"""The Great Expectations check: it judges a sample of every batch independently of the compiled rules."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.contract import Contract
from data_contracts.expectations import frame_from_arrow, validate_frame
from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.ingest.staging import Staging
from lastaisle.telemetry.stages import stage


class DisagreementError(LastaisleError):
    """Great Expectations and the compiled rules judge the same rows differently: one of them is wrong."""

    exit_code = ExitCode.CHECKS_DISAGREE


def check_sample(staging: Staging, rows: int, where: str) -> bool | None:
    """Judge a sample of the batch, clean and broken rows alike, and compare the counts of each rule.

    Args:
        staging: holds the rows and the verdicts of the compiled rules.
        rows: the most rows of the sample; 0 checks nothing.
        where: the file, for the error.

    Returns:
        True; None if there was no row to check.

    Raises:
        DisagreementError: Great Expectations and the compiled rules disagree. The error names the rules and
            both counts; nothing was committed.
    """
    if rows <= 0:
        return None
    sample = staging.sample(rows)
    if not sample.num_rows:
        return None
    contract = staging.contract
    references = {
        rule.reference: staging.reference(rule.reference) for rule in contract.rules if rule.reference
    }
    frame = frame_from_arrow(sample.drop_columns(["_rules"]))
    with stage("ask Great Expectations"):
        report = validate_frame(contract, frame, now=staging.now, references=references)
    expected = _count_by_rule(contract, sample)
    asked = {outcome.name: outcome for outcome in report.outcomes}
    differing: dict[str, Any] = {
        name: asked[name].problem or {"compiled": count, "great_expectations": asked[name].unexpected_count}
        for name, count in expected.items()
        if asked[name].problem or asked[name].unexpected_count != count
    }
    if differing:
        raise DisagreementError(
            f"{where}: in {sample.num_rows} rows Great Expectations disagrees with the compiled rules "
            f"{differing}; nothing was committed. Compare SQL and expectation of the rules in {contract.path}"
        )
    return True


def _count_by_rule(contract: Contract, sample: pa.Table) -> dict[str, int]:
    broken = pc.value_counts(pc.list_flatten(sample["_rules"].combine_chunks())).to_pylist()
    counts = {entry["values"]: entry["counts"] for entry in broken}
    return {rule.name: counts.get(rule.name, 0) for rule in contract.rules if rule.severity == "error"}
