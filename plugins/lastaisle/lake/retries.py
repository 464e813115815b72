"""Try a change of a table again after another writer committed first."""

from __future__ import annotations

import random
from typing import NoReturn

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from lastaisle.lake.errors import LakeConflictError

ATTEMPTS = 12


def retry_overtaken(message: str, *errors: type[Exception], attempts: int = ATTEMPTS) -> Retrying:
    """Return a caller that calls a function again while it raises one of the errors.

    The wait before the next attempt is random and grows with the attempts: 10 to 50 ms after the first.

    Args:
        message: the message of the error after the last attempt.
        *errors: the errors after which another attempt is made.
        attempts: the number of attempts.

    Raises:
        LakeConflictError: raised by the caller when the last attempt failed.
    """

    def give_up(_: RetryCallState) -> NoReturn:
        raise LakeConflictError(message)

    return Retrying(
        retry=retry_if_exception_type(errors),
        stop=stop_after_attempt(attempts),
        wait=_wait,
        retry_error_callback=give_up,
    )


def retry_conflicts(attempts: int) -> Retrying:
    """Return a caller that calls a function again at once while it raises a LakeConflictError.

    The function derives its rows anew from the table as it is now. The last conflict is raised as it is.
    """
    return Retrying(
        retry=retry_if_exception_type(LakeConflictError), stop=stop_after_attempt(attempts), reraise=True
    )


def _wait(state: RetryCallState) -> float:
    return random.uniform(0.01, 0.05) * state.attempt_number
