"""The Great Expectations check: it judges a sample of every batch independently of the compiled rules."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.contract import Contract
from data_contracts.errors import ContractError
from data_contracts.expectations import RuleOutcome, frame_from_arrow, validate_frame
from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.ingest.staging.staging import Staging
from lastaisle.telemetry.stages import stage

log = logging.getLogger(__name__)
PROBLEM_CHARACTERS = 300


class DisagreementError(LastaisleError):
    """Great Expectations and the compiled rules judge the same rows differently: one of them is wrong."""

    exit_code = ExitCode.CHECKS_DISAGREE


@dataclass(frozen=True)
class SampleCheck:
    """The result of the check of one batch.

    Attributes:
        success: True if Great Expectations judged all rules as the compiled rules do; False if it could not
            judge some rule; None if there was no row to check.
        problem: why Great Expectations could not judge; else an empty text.
    """

    success: bool | None = None
    problem: str = ""


def check_sample(staging: Staging, rows: int, where: str) -> SampleCheck:
    """Judge a sample of the batch, clean and broken rows alike, and compare the counts of each rule.

    The compiled rules judge every row. So a failure of Great Expectations itself stops nothing: it is logged
    as a warning and returned.

    Args:
        staging: holds the rows and the verdicts of the compiled rules.
        rows: the most rows of the sample; 0 checks nothing.
        where: the file, for messages.

    Raises:
        DisagreementError: both judged a rule, and the counts differ. The error names the rules and both
            counts; nothing was committed.
        ContractError: Great Expectations refuses an expectation of the contract.
    """
    sample = staging.sample(rows) if rows > 0 else None
    if sample is None or not sample.num_rows:
        return SampleCheck()
    contract = staging.contract
    expected = _count_by_rule(contract, sample)
    outcomes = _ask(staging, sample)
    if isinstance(outcomes, str):
        return _unable(where, outcomes)
    judged = {name: outcomes[name] for name in expected if name in outcomes and not outcomes[name].problem}
    differing = {
        name: {"compiled": expected[name], "great_expectations": outcome.unexpected_count}
        for name, outcome in judged.items()
        if outcome.unexpected_count != expected[name]
    }
    if differing:
        raise DisagreementError(
            f"{where}: in {sample.num_rows} rows Great Expectations disagrees with the compiled rules "
            f"{differing}; nothing was committed. Compare SQL and expectation of the rules in {contract.path}"
        )
    unjudged = [name for name in expected if name not in judged]
    if unjudged:
        first = outcomes.get(unjudged[0])
        return _unable(where, f"{', '.join(unjudged)}: {first.problem if first else 'no result'}")
    return SampleCheck(success=True)


def _ask(staging: Staging, sample: pa.Table) -> dict[str, RuleOutcome] | str:
    """Return the outcome of each rule in Great Expectations, or why it or pandas failed.

    Raises:
        ContractError: the contract has an expectation that Great Expectations does not know.
    """
    contract = replace(staging.contract, batch_rules=())  # no sample can judge a batch as a whole
    references = {
        rule.reference: staging.reference(rule.reference) for rule in contract.rules if rule.reference
    }
    try:
        with stage("ask Great Expectations"):
            frame = frame_from_arrow(sample.drop_columns(["_rules"]))
            report = validate_frame(contract, frame, now=staging.now, references=references)
    except ContractError:
        raise
    except Exception as error:  # both libraries raise errors of any type; the compiled rules decide
        return f"{type(error).__name__}: {error}"
    return {outcome.name: outcome for outcome in report.outcomes}


def _unable(where: str, problem: str) -> SampleCheck:
    """Log that Great Expectations could not judge the sample."""
    problem = problem[:PROBLEM_CHARACTERS]
    log.warning(
        "%s: Great Expectations could not judge the sample: %s. The compiled rules judged every row; the "
        "batch is committed by them",
        *(where, problem),
    )
    return SampleCheck(success=False, problem=problem)


def _count_by_rule(contract: Contract, sample: pa.Table) -> dict[str, int]:
    broken = pc.value_counts(pc.list_flatten(sample["_rules"].combine_chunks())).to_pylist()
    counts = {entry["values"]: entry["counts"] for entry in broken}
    return {rule.name: counts.get(rule.name, 0) for rule in contract.rules if rule.severity == "error"}
