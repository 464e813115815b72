"""The errors of bandits."""

from __future__ import annotations

from lastaisle.errors import ExitCode, LastaisleError


class BanditError(LastaisleError):
    """No running bandit has this name, or the row of a bandit in `traffic` is no bandit that can run."""

    exit_code = ExitCode.WRONG_REQUEST
