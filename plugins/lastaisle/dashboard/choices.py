"""What an address of the dashboard may get wrong: the answer says it in words, with the menu beside it."""

from __future__ import annotations

from lastaisle.errors import ExitCode, LastaisleError


class ChoiceError(LastaisleError):
    """An address of the dashboard chooses something that there is not.

    Attributes:
        status: of the answer.
    """

    exit_code = ExitCode.WRONG_REQUEST
    status = 422


class NotThereError(ChoiceError):
    """An address of the dashboard names a version, an experiment or a page of a list that there is not."""

    status = 404
