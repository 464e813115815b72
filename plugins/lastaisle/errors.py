"""The errors that Lastaisle raises on purpose: each says what was wrong, where, and what to do."""

from __future__ import annotations


class LastaisleError(Exception):
    """Something the user can mend; the command line prints it without a traceback.

    Attributes:
        exit_code: what the command line exits with.
    """

    exit_code = 1


class SourceError(LastaisleError):
    """A source that cannot be read at all: a missing path, an unknown format, a refused login."""

    exit_code = 3


class ReconciliationError(LastaisleError):
    """Row counts that do not add up: the batch is not committed."""

    exit_code = 4


class NotEnoughDataError(LastaisleError):
    """A window with too few sessions to train on or to evaluate with."""

    exit_code = 5


class RegistryError(LastaisleError):
    """A version or alias that the registry does not have."""

    exit_code = 6
