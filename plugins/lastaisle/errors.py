"""The errors that Lastaisle raises on purpose, and the exit codes of the command line.

Each error says what was wrong, the value received, where the evidence lies, and what to do.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """Every code that the command line exits with; each has one meaning, which docs/exit-codes.md explains.

    The packages models and data_contracts have errors too; their classes carry the same numbers.
    """

    DONE = 0
    FAILED = 1
    WRONG_REQUEST = 2
    SOURCE_UNREADABLE = 3
    COUNTS_DIFFER = 4
    NOT_ENOUGH_DATA = 5
    NO_SUCH_VERSION = 6
    OVERTAKEN = 7
    NOTHING_TO_TRAIN = 8
    SERVICE_DOWN = 9
    CANDIDATE_REFUSED = 10
    BREAKING_CHANGE = 11
    UNMARKED_CHANGE = 12
    DRIFTED = 13
    TABLE_VERSION_GONE = 14
    KEY_UNUSABLE = 15
    NOT_ANONYMIZED = 16
    NOT_EVALUATED = 17
    CHECKS_DISAGREE = 18
    LAKE_UNUSABLE = 19
    BATCH_REFUSED = 20
    MODEL_DAMAGED = 21
    ROLLED_BACK = 22
    OLDER_TRAINING = 23
    BEING_TRAINED = 24
    LEDGER_CHANGED = 25
    GUARDRAIL = 26
    NOT_REPRODUCED = 27
    NOT_ANNOUNCED = 28
    ALERTS_OPEN = 29
    BUDGET_SPENT = 30
    AUDIT_FAILED = 31


MEANINGS: Final = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "error, or a file left out",
    ExitCode.WRONG_REQUEST: "wrong usage, setting, hyperparameter, contract, mapping or rule",
    ExitCode.SOURCE_UNREADABLE: "source unreadable",
    ExitCode.COUNTS_DIFFER: "row counts do not add up",
    ExitCode.NOT_ENOUGH_DATA: "not enough data",
    ExitCode.NO_SUCH_VERSION: "no such model version",
    ExitCode.OVERTAKEN: "another writer was faster",
    ExitCode.NOTHING_TO_TRAIN: "nothing to train",
    ExitCode.SERVICE_DOWN: "a service does not work",
    ExitCode.CANDIDATE_REFUSED: "done, but the gate refused the candidate",
    ExitCode.BREAKING_CHANGE: "a change of a source's fields or of a contract breaks senders or readers",
    ExitCode.UNMARKED_CHANGE: "a contract's version does not say that the contract changed",
    ExitCode.DRIFTED: "done, and something drifted",
    ExitCode.TABLE_VERSION_GONE: "a table's version is no longer kept",
    ExitCode.KEY_UNUSABLE: "a pseudonym key cannot be used",
    ExitCode.NOT_ANONYMIZED: "rows may not become events",
    ExitCode.NOT_EVALUATED: "the candidate is not evaluated against this champion",
    ExitCode.CHECKS_DISAGREE: "Great Expectations and the compiled rules disagree",
    ExitCode.LAKE_UNUSABLE: "the lake cannot be read or written",
    ExitCode.BATCH_REFUSED: "a batch breaks a rule about the batch as a whole",
    ExitCode.MODEL_DAMAGED: "a model's files are not those that were trained",
    ExitCode.ROLLED_BACK: "the candidate, or the version that it started from, was rolled back",
    ExitCode.OLDER_TRAINING: "the champion has learned newer hours than the candidate",
    ExitCode.BEING_TRAINED: "another process trains the same candidate",
    ExitCode.LEDGER_CHANGED: "rows of the ledger are not those that were written",
    ExitCode.GUARDRAIL: "done, and the guardrails rolled the champion back",
    ExitCode.NOT_REPRODUCED: "done, but the repeated training gave other metrics",
    ExitCode.NOT_ANNOUNCED: "done, but an announcement did not reach its service",
    ExitCode.ALERTS_OPEN: "done, and alerts are open",
    ExitCode.BUDGET_SPENT: "the privacy budget of shoppers does not allow this training",
    ExitCode.AUDIT_FAILED: "done, and the audit of privacy found something that failed",
}


class LastaisleError(Exception):
    """An error that the user can mend; the command line prints it without a traceback.

    Attributes:
        exit_code: the code that the command line exits with.
    """

    exit_code = ExitCode.FAILED


class SourceError(LastaisleError):
    """A source that cannot be read at all: a missing path, an unknown format, a refused login."""

    exit_code = ExitCode.SOURCE_UNREADABLE


class ReconciliationError(LastaisleError):
    """Row counts that do not add up: the batch is not committed."""

    exit_code = ExitCode.COUNTS_DIFFER


class NotEnoughDataError(LastaisleError):
    """A window with too few sessions to train on or to evaluate with."""

    exit_code = ExitCode.NOT_ENOUGH_DATA


class RegistryError(LastaisleError):
    """A version or alias that the registry does not have."""

    exit_code = ExitCode.NO_SUCH_VERSION
